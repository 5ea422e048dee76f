r"""Extract the CLIP of a training checkpoint to a small file, which open_clip reads too.

Mask prompts are kept; open_clip then refuses the file, and MODEL.OVSEG.CLIP_WEIGHTS takes it. With
--release a whole released model becomes a checkpoint of this project instead. MODEL.WEIGHTS takes
the released file too; docs/weights.md says which file belongs where.

Examples:
    python tools/convert_weights.py --model ShapesCLIP --weights output/clip/model_final.pth \
        --output shapes_clip.safetensors --note "configs/clip.yaml, seed 0"
    python tools/convert_weights.py --release auto --weights ovseg_swinbase_vitL14_ft_mpt.pth \
        --output ovseg.pth
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

RELEASES = ("auto", "ovseg", "pixelclip", "maskformer", "maskclip_plus")
DTYPES = ("float16", "bfloat16", "float32")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--model", help="name of open_clip, or a config file")
    kind.add_argument(
        "--release", choices=RELEASES, help="project of a whole released model; auto recognises it"
    )
    parser.add_argument("--weights", required=True, help="checkpoint or weight file")
    parser.add_argument("--output", required=True, help="the file to write, .safetensors or .pth")
    parser.add_argument("--dtype", choices=DTYPES, default="float16")
    parser.add_argument("--note", default="", help="origin of the weights, kept in the file")
    return parser.parse_args(argv)


def convert_release(args: argparse.Namespace) -> None:
    """Rename a released model's weights; their types stay."""
    import torch

    from ovseg_d2.checkpoints import convert_release
    from ovseg_d2.files import write_atomically
    from ovseg_d2.weight_files import read_state_dict

    name = None if args.release == "auto" else args.release
    weights = read_state_dict(args.weights)
    release, converted = convert_release(weights, args.weights, name)
    with write_atomically(Path(args.output)) as file:
        torch.save({"model": converted.weights, **release.training_entry()}, file)
    print(f"{args.output}: {len(converted.weights)} tensors, of {len(weights)} in {release.title}")
    for name, reason in converted.left_out.items():
        print(f"left out: {name} ({reason})")


def convert_clip(args: argparse.Namespace) -> None:
    """Read a CLIP, check it against its model, and write it."""
    import torch

    from ovseg_d2.clip import load_clip, read_clip, save_weights

    weights, output = Path(args.weights), Path(args.output)
    tower, file = load_clip(args.model, weights), read_clip(weights)
    save_weights(
        tower.model,
        output,
        dtype=getattr(torch, args.dtype),
        note=args.note,
        mask_prompts=file.prompts,
        training=file.training,
    )
    kept = "" if file.prompts is None else f", with mask prompts of depth {len(file.prompts)}"
    print(f"{args.output}: {output.stat().st_size / 2**20:.1f} MiB, {args.dtype}{kept}")


def main(argv: Sequence[str] | None = None) -> None:
    """Convert; ends with a sentence and exit code 1 on bad input.

    Args:
        argv: the command line; None takes the program's own.
    """
    args = parse_args(argv)

    from ovseg_d2.engine.cli import sentence_for_bad_input

    with sentence_for_bad_input():
        if args.release:
            convert_release(args)
        else:
            convert_clip(args)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # before the work has begun
        print("interrupted; run the command again", file=sys.stderr)
        sys.exit(130)
