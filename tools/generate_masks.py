"""Make unlabelled masks of pictures, one JSON file each, in SA-1B's format.

Examples:
    python tools/generate_masks.py --source felzenszwalb --images photos --output masks
    python tools/generate_masks.py --source shapes --images ovseg_shapes_train --output masks
    python tools/generate_masks.py --source dino --images 'photos/**/*.jpg' --output masks \
        --options num_clusters=16 size=448
    torchrun --nproc-per-node 4 tools/generate_masks.py --source sam --images photos \
        --output masks --options checkpoint=sam_vit_h_4b8939.pth
    python tools/generate_masks.py --source maskformer --images photos --output masks \
        --options config=configs/ovseg.yaml weights=output/ovseg/model_final.pth
    python tools/generate_masks.py --source shapes --images shapes://dev/0/0-99 --output masks \
        --num-gpus 2

An interrupted command goes on where it stopped. A picture that cannot be read is reported and left
out; the exit code is then 1. With CUDA hidden or absent, --num-gpus counts processes on the CPU.
"""

import argparse
import inspect
import os
import sys
import warnings
from collections.abc import Sequence

# detectron2 and fvcore compile small functions when they are imported.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)

from ovseg_d2.d2.engine import launch  # noqa: E402
from ovseg_d2.data.masks import MASK_SOURCES  # noqa: E402
from ovseg_d2.data.pictures import PICTURES_HELP  # noqa: E402
from ovseg_d2.engine.cli import parse_options, sentence_for_bad_input  # noqa: E402
from ovseg_d2.engine.generate_masks import (  # noqa: E402
    PATIENCE,
    MaskJob,
    join_torchrun,
    plan_job,
    process_device,
)
from ovseg_d2.engine.run import check_output_dir, check_processes  # noqa: E402


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made = [name for name in MASK_SOURCES if name != "stored"]
    parser.add_argument("--source", required=True, choices=made)
    parser.add_argument("--images", nargs="+", required=True, help=PICTURES_HELP)
    parser.add_argument("--output", required=True, help="folder of the mask files")
    parser.add_argument(
        "--options", nargs="*", default=[], metavar="NAME=VALUE", help="of the source"
    )
    parser.add_argument("--device", default="auto", help="of dino, sam and maskformer")
    parser.add_argument("--num-gpus", type=int, default=1, help="processes on this machine")
    args = parser.parse_args(argv)
    args.options = parse_options(parser, args.options)
    return args


def work(job: MaskJob, device: str) -> None:
    """Do one process's share of the job."""
    with sentence_for_bad_input():
        device = process_device(device)
        takes_device = "device" in inspect.signature(MASK_SOURCES[job.source]).parameters
        job.run(**({"device": device} if takes_device else {}))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code.

    Args:
        argv: the command line; None takes the program's own.
    """
    args = parse_args(argv)
    with sentence_for_bad_input(), join_torchrun(args.num_gpus):
        check_processes(args.num_gpus, 1)
        # Here, so that bad input shows once and before processes start.
        job = plan_job(args.images, args.source, args.options, args.output)
        check_output_dir(args.output)
        launch(work, args.num_gpus, dist_url="auto", args=(job, args.device), timeout=PATIENCE)
    missing = job.missing()
    if missing and os.environ.get("RANK", "0") == "0":
        print(f"{len(missing)} of {len(job.pictures)} pictures have no masks", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
