"""Fuzz the readers with any number of cases: `make fuzz N=100000 READER=masks SEED=1`."""

import argparse
import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))  # modules of this folder import each other by plain names

from harness import FAULTS, Reader, fuzz  # noqa: E402


def load_readers() -> dict[str, Reader]:
    """Name -> reader of every `fuzz_<reader>.py` in this folder."""
    modules = (_load(path) for path in sorted(FOLDER.glob("fuzz_*.py")))
    return {module.READER.name: module.READER for module in modules}


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Fuzz; the exit code is 1 where there is a fault."""
    readers = load_readers()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="of each reader (default: 1000)")
    parser.add_argument("--reader", choices=("", *readers), default="", help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    failed = False
    for name in [args.reader] if args.reader else readers:
        start = time.monotonic()
        report = fuzz(readers[name], args.cases, args.seed)
        print(f"{name} ({time.monotonic() - start:.0f} s): {report}", flush=True)
        failed |= any(report.counts[fault] for fault in FAULTS)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
