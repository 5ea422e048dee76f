"""Segment pictures with words.

Examples:
    python tools/demo.py --input picture.png --classes "red star, grass"
    python tools/demo.py --config-file configs/maskclip.yaml --input photos 'more/*.jpg' \
        --classes "sky, tree" --output output/demo \
        --opts MODEL.CLIP.NAME ViT-B-16 MODEL.CLIP.PRETRAINED openai

For each picture an overlay with a legend, a label map and a JSON file are written. A picture that
cannot be read is reported and left out; the exit code is then 1.
"""

import argparse
import logging
import sys
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ovseg_d2.data.images import ImageReadError, list_images
from ovseg_d2.engine.cli import sentence_for_bad_input
from ovseg_d2.segmenter import Segmentation, Segmenter


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", help="default: MaskCLIP on ShapesCLIP")
    parser.add_argument("--input", nargs="+", required=True, help="pictures, globs, folders")
    parser.add_argument("--classes", help="words, separated by commas; default: the config's")
    parser.add_argument("--output", default="output/demo", help="folder (default: output/demo)")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config keys, values")
    return parser.parse_args()


def unique_names(paths: list[Path]) -> list[str]:
    """A name for each picture's files: its stem, numbered where two pictures share one."""
    taken: dict[str, int] = {}
    names = []
    for path in paths:
        taken[path.stem] = taken.get(path.stem, 0) + 1
        names.append(path.stem if taken[path.stem] == 1 else f"{path.stem}_{taken[path.stem]}")
    return names


def describe(path: Path, overlay: Path, found: Segmentation) -> str:
    """One line about a picture."""
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.shares.items())
    return f"{path}: {shares}\n  overlay: {overlay}"


def main(args: argparse.Namespace) -> int:
    """Segment every picture; the exit code says whether one was left out."""
    paths = list_images(args.input)
    segment = Segmenter(args.config_file, opts=args.opts)
    vocabulary = segment.choose_words(args.classes)
    left_out = 0
    with logging_redirect_tqdm():
        names = unique_names(paths)
        bar = tqdm(zip(paths, names, strict=True), total=len(paths), disable=len(paths) == 1)
        for path, name in bar:
            try:
                found = segment(path, vocabulary)
            except ImageReadError as error:
                left_out += 1
                tqdm.write(f"left out: {error}", file=sys.stderr)
                continue
            files = found.save(args.output, name)
            tqdm.write(describe(path, files["overlay"], found))
    if left_out:
        print(f"{left_out} of {len(paths)} pictures could not be read", file=sys.stderr)
    return 1 if left_out else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    with sentence_for_bad_input():
        sys.exit(main(parse_args()))
