r"""Make unlabelled masks of images, a JSON file for each image, in SA-1B's format.

Examples:
    python tools/generate_masks.py --source felzenszwalb --images photos --output masks/felz
    python tools/generate_masks.py --source shapes --images ovseg_shapes_train --output masks/shapes
    python tools/generate_masks.py --source dino --images 'photos/**/*.jpg' --output masks/dino \
        --options num_clusters=16 size=448
    torchrun --nproc-per-node 4 tools/generate_masks.py --source sam --images photos \
        --output masks/sam --options checkpoint=sam_vit_h_4b8939.pth
    python tools/generate_masks.py --source maskformer --images photos --output masks/ovseg \
        --options config=configs/ovseg.yaml weights=output/ovseg/model_final.pth
    python tools/generate_masks.py --source shapes --images shapes://dev/0/0-99 --output masks/dev \
        --num-gpus 2

An output folder holds masks of one source with one set of options. An interrupted command
continues where it stopped. An image that cannot be read is reported and left out; the exit code is
then 1. With CUDA hidden or absent, --num-gpus counts processes on the CPU.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovseg_d2.prepare.mask_job import MaskJob

# detectron2 and fvcore compile small functions when they are imported.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)

# Names of ``ovseg_d2.prepare.proposal_masks.ALL_MASK_SOURCES`` that make masks.
SOURCES = ("shapes", "felzenszwalb", "dino", "sam", "maskformer")
GO_ON = "run the command again: it keeps the masks that are made"
IMAGES = "images, globs, folders, names of datasets, or shapes://SPLIT/SEED/[FIRST-LAST]"


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True, choices=SOURCES)
    parser.add_argument("--images", nargs="+", required=True, help=IMAGES)
    parser.add_argument("--output", required=True, help="folder of the mask files")
    parser.add_argument(
        "--options", nargs="*", default=[], metavar="NAME=VALUE", help="of the source"
    )
    parser.add_argument("--device", default="auto", help="of dino, sam and maskformer")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="Python module that registers datasets; may repeat",
    )
    parser.add_argument("--num-gpus", type=int, default=1, help="processes on this machine")
    args = parser.parse_args(argv)

    from ovseg_d2.engine.cli import parse_options

    args.options = parse_options(parser, args.options)
    return args


def work(job: "MaskJob", device: str, modules: Sequence[str]) -> None:
    """Do one process's share of the job."""
    from ovseg_d2.engine.cli import sentence_for_bad_input
    from ovseg_d2.engine.user_modules import import_modules
    from ovseg_d2.prepare.mask_job import process_device

    with sentence_for_bad_input(GO_ON):
        import_modules(modules)
        device = process_device(device, argument="--device")
        job.run(device)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code.

    Args:
        argv: the command line; None takes the program's own.
    """
    args = parse_args(argv)

    from ovseg_d2.config import check_device, resolve_device
    from ovseg_d2.engine.cli import sentence_for_bad_input
    from ovseg_d2.engine.processes import check_processes, launch_job
    from ovseg_d2.engine.user_modules import import_modules
    from ovseg_d2.files import check_output_dir
    from ovseg_d2.prepare.mask_job import PATIENCE, join_torchrun, plan_job

    with sentence_for_bad_input(GO_ON), join_torchrun(args.num_gpus):
        check_processes(args.num_gpus, 1)
        check_device(resolve_device(args.device, argument="--device"), argument="--device")
        # Bad input is reported once and before processes start.
        import_modules(args.modules)
        job = plan_job(args.images, args.source, args.options, args.output)
        check_output_dir(args.output)
        shared = (job, args.device, args.modules)
        launch_job(work, args.num_gpus, args=shared, timeout=PATIENCE)
    missing = job.missing()
    if os.environ.get("RANK", "0") == "0":
        made = len(job.images) - len(missing)
        print(f"masks of {made} of {len(job.images)} images, a file for each: {args.output}")
        if missing:
            print(f"{len(missing)} of {len(job.images)} images have no masks", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the work has begun
        print("interrupted; run the command again", file=sys.stderr)
        sys.exit(130)
