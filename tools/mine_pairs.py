r"""Mine mask-category pairs from captions for MaskAdaptedCLIP, a JSON object per line.

Examples:
    python tools/mine_pairs.py --images shapes://train/0/0-5999 --output output/pairs/shapes_5cap
    python tools/mine_pairs.py --images shapes://train/0/0-5999 --captions-per-image 1 \
        --masks felzenszwalb --output output/pairs/shapes_1cap
    python tools/mine_pairs.py --images shapes://train/0/0-5999 --masks labels --nouns classes \
        --output output/pairs/shapes_gt
    torchrun --nproc-per-node 4 tools/mine_pairs.py \
        --config-file configs/paper/ovseg_adapt_ft_vitl14.yaml --images coco/train2017 \
        --captions coco/annotations/captions_train2017.json --nouns nouns \
        --masks stored --mask-option folder=masks/coco --output datasets/pairs/coco_5cap

The output folder gets pairs.jsonl and summary.json. An interrupted command continues where it
stopped. An image without captions, nouns or masks, or that cannot be read, is reported and left
out. Config keys and their values come last; they choose the CLIP that matches.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovseg_d2.prepare.pair_job import PairJob

# detectron2 and fvcore compile small functions when they are imported.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)

# Names of ``ovseg_d2.prepare.proposal_masks.ALL_MASK_SOURCES``, and true masks.
MASKS = ("labels", "shapes", "felzenszwalb", "dino", "sam", "stored", "maskformer")
NOUNS = ("phrases", "nouns", "classes")
TAGGERS = ("hanta", "spacy", "nltk")
GO_ON = "run the command again: it keeps the parts that are made"
IMAGES = "images, globs, folders, names of datasets, or shapes://SPLIT/SEED/[FIRST-LAST]"


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", nargs="+", required=True, help=IMAGES)
    parser.add_argument("--output", required=True, help="folder of the pairs")
    parser.add_argument("--masks", default="shapes", choices=MASKS)
    # One word per flag, because config keys follow without a flag.
    option = {"action": "append", "default": [], "metavar": "NAME=VALUE"}
    parser.add_argument("--mask-option", dest="mask_options", help="of the source", **option)
    parser.add_argument("--nouns", default="phrases", choices=NOUNS)
    parser.add_argument("--captions", default="", help="COCO's JSON; none for the Shapes world")
    parser.add_argument("--captions-per-image", type=int, default=0, help="0 takes all")
    parser.add_argument("--tagger", default="hanta", choices=TAGGERS)
    parser.add_argument("--tagger-option", dest="tagger_options", help="of the tagger", **option)
    parser.add_argument("--config-file", default="configs/ovseg_clip.yaml")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="Python module that registers datasets; may repeat",
    )
    parser.add_argument("--num-gpus", type=int, default=1, help="processes on this machine")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="config keys and their values")
    args = parser.parse_args(argv)

    from ovseg_d2.engine.cli import parse_options, refuse_misplaced_options

    refuse_misplaced_options(parser, args.opts)
    for name in ("mask_options", "tagger_options"):
        setattr(args, name, parse_options(parser, getattr(args, name)))
    return args


def work(job: "PairJob", config_file: str, opts: Sequence[str], modules: Sequence[str]) -> None:
    """Do one process's share of the job."""
    from ovseg_d2.config import load_config
    from ovseg_d2.engine.cli import sentence_for_bad_input
    from ovseg_d2.engine.user_modules import import_modules
    from ovseg_d2.prepare.mask_job import process_device

    with sentence_for_bad_input(GO_ON):
        import_modules(modules)
        cfg = load_config(config_file, opts)
        job.run(cfg, process_device(cfg.MODEL.DEVICE))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code.

    Args:
        argv: the command line; None takes the program's own.
    """
    args = parse_args(argv)

    from ovseg_d2.config import check_device, load_config
    from ovseg_d2.engine.cli import sentence_for_bad_input
    from ovseg_d2.engine.processes import check_processes, launch_job
    from ovseg_d2.engine.user_modules import import_modules
    from ovseg_d2.files import check_output_dir
    from ovseg_d2.prepare.mask_job import PATIENCE, join_torchrun
    from ovseg_d2.prepare.pair_job import PAIR_FILE, describe_summary, plan_pairs
    from ovseg_d2.prepare.pair_miner import MiningOptions

    with sentence_for_bad_input(GO_ON), join_torchrun(args.num_gpus):
        check_processes(args.num_gpus, 1)
        # Bad input is reported once and before processes start.
        import_modules(args.modules)
        names = MiningOptions.__dataclass_fields__
        options = MiningOptions(**{name: getattr(args, name) for name in names})
        cfg = load_config(args.config_file, args.opts)
        check_device(cfg.MODEL.DEVICE)
        job = plan_pairs(args.images, options, cfg, args.output)
        check_output_dir(args.output)
        if not job.is_done:
            shared = (job, args.config_file, args.opts, args.modules)
            launch_job(work, args.num_gpus, args=shared, timeout=PATIENCE)
    if os.environ.get("RANK", "0") != "0":
        return 0
    with sentence_for_bad_input():
        summary = job.finish()
    print(f"{describe_summary(summary)}\npairs: {job.output / PAIR_FILE}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the work has begun
        print("interrupted; run the command again", file=sys.stderr)
        sys.exit(130)
