r"""Segment images with words.

Examples:
    python tools/demo.py --input datasets/examples/shapes.png --classes "orange star, gravel"
    python tools/demo.py --config-file configs/photos.yaml --input photos 'more/*.jpg' \
        --classes "sky, tree" --output output/demo
    python tools/demo.py --config-file configs/clip_short.yaml --input picture.png \
        --classes "a red star on grass" --attention --output output/before \
        --opts MODEL.WEIGHTS output/clip_short/model_final.pth

For each image an overlay with a legend, a label map and a JSON file are written; with --heatmap
also a heat map of each word: its probability among all words, or its cosine if it is the only one;
with --attention a map of each word with the parts of the image that its similarity to the whole
image comes from. Words may be captions. An image that cannot be read, and images or maps that do
not fit into memory, are reported and left out; the exit code is then 1. --opts comes last: all that
follows it is config keys and values.
"""

import argparse
import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovseg_d2.segmenter import Segmentation, Segmenter

# detectron2 and fvcore compile small functions when they are imported.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
IMAGES = "images, globs, folders, names of datasets, or shapes://SPLIT/SEED/[FIRST-LAST]"
WORDS = (
    "words separated by commas, or a .txt file (a class a line), or a .json file (a list, or an "
    "object of names and synonyms), or the name of a word list such as ade150"
)
# A file name has at most 255 bytes; the word of a heat map takes about 100 of them.
_STEM_BYTES = 140


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", help="default: MaskCLIP on ShapesCLIP")
    parser.add_argument("--input", nargs="+", required=True, help=IMAGES)
    parser.add_argument("--classes", help=f"{WORDS}; default: the config's")
    parser.add_argument("--output", default="output/demo", help="folder (default: output/demo)")
    parser.add_argument("--heatmap", action="store_true", help="also a heat map of each word")
    parser.add_argument("--attention", action="store_true", help="also an attention map of each")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="Python module that registers datasets; may repeat",
    )
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config keys and values; must come last",
    )
    args = parser.parse_args(argv)

    from ovseg_d2.engine.cli import refuse_misplaced_options

    refuse_misplaced_options(parser, args.opts)
    return args


def unique_names(paths: Sequence[str]) -> list[str]:
    """Names for the files of the images: their stems, shortened, and numbered where taken."""
    from ovseg_d2.files import shorten_stem

    taken: set[str] = set()
    names = []
    for stem in (shorten_stem(Path(path).stem, _STEM_BYTES) for path in paths):
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def describe(path: str, files: Mapping[str, Path], result: "Segmentation") -> str:
    """The classes of an image by share, and the files that show them, as text."""
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in result.shares.items())
    shown = [f"  {kind}: {file}" for kind, file in files.items() if kind not in ("labels", "json")]
    return "\n".join([f"{path}: {shares}", *shown])


def segment_all(args: argparse.Namespace) -> int:
    """Segment all images; returns the number of images and maps left out."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    from ovseg_d2.data.find_images import find_images
    from ovseg_d2.engine.user_modules import import_modules
    from ovseg_d2.files import check_output_dir
    from ovseg_d2.image_errors import ImageReadError, memory_for
    from ovseg_d2.segmenter import Segmenter
    from ovseg_d2.vocab import read_words

    # Cheap checks come first: models take a while to load.
    import_modules(args.modules)
    paths = find_images(args.input)
    words = None if args.classes is None else read_words(args.classes, "--classes")
    check_output_dir(args.output)
    segment = Segmenter(args.config_file, opts=args.opts)
    vocabulary = segment.choose_words(words)
    left_out, without_maps = 0, 0
    jobs = list(zip(paths, unique_names(paths), strict=True))
    with logging_redirect_tqdm():
        for path, name in tqdm(jobs, unit="image", disable=len(jobs) == 1):
            try:
                with memory_for(path):
                    result = segment(path, vocabulary)
                    maps = draw_maps(args, segment, result, path)
                    files = result.save(args.output, name, **maps)
            except ImageReadError as error:
                left_out += 1
                tqdm.write(f"left out: {error}", file=sys.stderr)
                continue
            without_maps += len(maps) < args.heatmap + args.attention
            tqdm.write(describe(path, files, result))
    if left_out:
        print(f"{left_out} of {len(paths)} images could not be read", file=sys.stderr)
    if without_maps:
        print(f"{without_maps} of {len(paths)} images have no maps", file=sys.stderr)
    return left_out + without_maps


def draw_maps(
    args: argparse.Namespace, segment: "Segmenter", result: "Segmentation", path: str
) -> dict[str, Any]:
    """The maps of the command line, without those that do not fit into memory."""
    from tqdm import tqdm

    from ovseg_d2.image_errors import ImageTooLargeError, memory_for

    wanted = {"heatmaps": segment.heatmaps} if args.heatmap else {}
    wanted |= {"attention": segment.attention} if args.attention else {}
    maps = {}
    for kind, draw in wanted.items():
        try:
            with memory_for(path):
                maps[kind] = draw(result.image, result.vocabulary)
        except ImageTooLargeError as error:
            tqdm.write(f"{kind} left out: {error}", file=sys.stderr)
    return maps


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code.

    Args:
        argv: the command line; None takes the program's own.
    """
    args = parse_args(argv)

    from ovseg_d2.engine.cli import sentence_for_bad_input

    with sentence_for_bad_input():
        return 1 if segment_all(args) else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the work has begun
        print("interrupted; run the command again", file=sys.stderr)
        sys.exit(130)
