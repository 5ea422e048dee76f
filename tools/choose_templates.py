r"""Choose the prompt templates of each class by images of a dataset, without their labels.

A class keeps the templates whose predictions of it have the lowest entropy.
MODEL.TEXT.WORD_TEMPLATES takes the file.

Examples:
    python tools/choose_templates.py --config-file configs/maskclip.yaml --output templates.json \
        DATASETS.TEST "('ovseg_shapes_dev',)" TEST.MAX_IMAGES 100
    python tools/demo.py --input datasets/examples/shapes.png --classes "red star, grass" \
        --opts MODEL.TEXT.WORD_TEMPLATES templates.json
"""

import argparse
import sys
import warnings
from collections.abc import Sequence

# detectron2 and fvcore compile small functions when they are imported.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="of a MaskCLIP")
    parser.add_argument("--output", required=True, help="the file to write, .json")
    parser.add_argument(
        "--templates",
        action="append",
        help="a template set, by default imagenet, or one template; may repeat",
    )
    parser.add_argument("--keep", type=int, default=1, help="most templates of a class")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="Python module that registers datasets; may repeat",
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="config keys and values")
    args = parser.parse_args(argv)
    args.templates = args.templates or ["imagenet"]

    from ovseg_d2.engine.cli import refuse_misplaced_options

    refuse_misplaced_options(parser, args.opts)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Choose and write; ends with a sentence and exit code 1 on bad input.

    Args:
        argv: the command line; None takes the program's own.
    """
    args = parse_args(argv)

    from ovseg_d2.config import load_config
    from ovseg_d2.engine.cli import sentence_for_bad_input
    from ovseg_d2.engine.template_choice import choose_templates
    from ovseg_d2.engine.user_modules import import_modules
    from ovseg_d2.text import write_word_templates

    with sentence_for_bad_input():
        import_modules(args.modules)
        cfg = load_config(args.config_file, args.opts)
        chosen = choose_templates(cfg, args.templates, args.keep)
        note = (
            f"{args.keep} of {args.templates} for {cfg.MODEL.CLIP.NAME}, by images of "
            f"{cfg.DATASETS.TEST[0]}"
        )
        write_word_templates(args.output, chosen, note)
        print(f"{args.output}: templates of {len(chosen)} words")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # before the work has begun
        sys.exit(130)
