"""Train or evaluate what a config describes.

Examples:
    python tools/train_net.py --config-file configs/clip.yaml
    python tools/train_net.py --config-file configs/clip.yaml --resume
    python tools/train_net.py --config-file configs/maskclip.yaml --eval-only
    python tools/train_net.py --config-file configs/clip.yaml --num-gpus 2 MODEL.DEVICE cpu

Config keys and their values come last. With CUDA hidden or absent, --num-gpus counts processes on
the CPU.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence

# detectron2 and fvcore compile small functions when they are imported.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)

from ovseg_d2.config import find_config, load_config  # noqa: E402
from ovseg_d2.d2.engine import default_argument_parser, launch  # noqa: E402
from ovseg_d2.engine.cli import refuse_misplaced_options, sentence_for_bad_input  # noqa: E402
from ovseg_d2.engine.run import check_job, check_processes, run_job  # noqa: E402


def work(args: argparse.Namespace) -> None:
    """Do one process's share of the job."""
    with sentence_for_bad_input():
        run_job(load_config(args.config_file or None, args.opts), args)


def main(argv: Sequence[str] | None = None) -> None:
    """Start the job's processes; ends with a sentence and exit code 1 on bad input.

    Args:
        argv: the command line; None takes the program's own.
    """
    parser = default_argument_parser(__doc__)
    args = parser.parse_args(argv)
    refuse_misplaced_options(parser, args.opts)
    with sentence_for_bad_input():
        if args.config_file:  # detectron2's set-up logs its text
            args.config_file = str(find_config(args.config_file))
        check_processes(args.num_gpus, args.num_machines)
        # Here too, so that bad input shows once and before processes start.
        check_job(load_config(args.config_file or None, args.opts), args)
        launch(
            work,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )


if __name__ == "__main__":
    sys.exit(main())
