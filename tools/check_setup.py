"""Check that the operators of the installed torchvision load with the installed torch.

Usage: python tools/check_setup.py

torchvision's operators are compiled for one torch version and its CUDA or CPU build. Another pair
installs without an error, and fails at import with `operator torchvision::nms does not exist`, or
only when an operator is called. This tool runs an operator; if it fails, the tool prints how to get
a matching pair, and exits with code 1.
"""

import argparse
import importlib.metadata
import sys
from collections.abc import Sequence


def version_of(package: str) -> str:
    """Return the installed version of `package`, without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def run_operator() -> None:
    """Run `nms` on three boxes; the second overlaps the first.

    Raises:
        ImportError, OSError, RuntimeError, AttributeError: a library or an operator did not load.
    """
    import torch
    from torchvision.ops import nms

    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 10, 10], [20, 0, 30, 10]], dtype=torch.float32)
    kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
    if kept != [0, 2]:
        raise RuntimeError(f"torchvision.ops.nms kept the boxes {kept} instead of [0, 2]")


def main(argv: Sequence[str] | None = None) -> int:
    """Test the pair; the return value is the exit code.

    Args:
        argv: the command line; None takes the program's own.
    """
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(argv)
    pair = f"torch {version_of('torch')} and torchvision {version_of('torchvision')}"
    try:
        run_operator()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        print(
            f"{pair} in {sys.prefix} do not work together: {type(error).__name__}: {error}\n"
            "Both have to come from the same index, in one command. To install a matching pair:\n"
            f'    "{sys.executable}" -m pip install --force-reinstall torch torchvision\n'
            "with no second source of torch (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL); for builds of\n"
            "another index (CPU only, another CUDA) the same with --index-url and its address.\n"
            "Then run make again.",
            file=sys.stderr,
        )
        return 1
    print(f"{pair} work together.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the work has begun
        print("interrupted; run the command again", file=sys.stderr)
        sys.exit(130)
