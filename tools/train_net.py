r"""Train or evaluate the model of a config.

Examples:
    python tools/train_net.py --config-file configs/clip.yaml
    python tools/train_net.py --config-file configs/clip.yaml --resume
    python tools/train_net.py --config-file configs/maskclip.yaml --eval-only
    python tools/train_net.py --config-file configs/clip.yaml --num-gpus 2 MODEL.DEVICE cpu
    python tools/train_net.py --config-file configs/ovseg.yaml --import my_datasets \
        DATASETS.TRAIN "('my_train',)" DATASETS.TEST "('my_val',)"

Config keys and their values come last. With CUDA hidden or absent, --num-gpus counts processes on
the CPU. The same command with --resume continues an interrupted training from its last checkpoint.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

# detectron2 and fvcore compile small functions when they are imported.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)


def build_parser() -> argparse.ArgumentParser:
    """Options of detectron2's ``default_argument_parser``, without importing detectron2."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", default="", metavar="FILE", help="config file (YAML)")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from the last checkpoint in OUTPUT_DIR, if there is one",
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate, do not train")
    parser.add_argument(
        "--num-gpus", type=int, default=1, help="GPUs, or without CUDA processes, per machine"
    )
    parser.add_argument("--num-machines", type=int, default=1, help="machines of the job")
    parser.add_argument("--machine-rank", type=int, default=0, help="index of this machine")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="Python module that registers datasets; may repeat",
    )
    user = os.getuid() if hasattr(os, "getuid") else 1
    parser.add_argument(
        "--dist-url",
        default=f"tcp://127.0.0.1:{49152 + hash(user) % 16384}",
        help="where the first process listens for the others; auto finds a free port of this "
        "machine (default: %(default)s, one port for each user)",
    )
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        default=None,
        help="config keys and values, in pairs: KEY VALUE ...; they come last",
    )
    return parser


def work(args: argparse.Namespace) -> None:
    """Do one process's share of the job."""
    from ovseg_d2.config import load_config
    from ovseg_d2.engine.cli import sentence_for_bad_input
    from ovseg_d2.engine.run import run_job
    from ovseg_d2.engine.user_modules import import_modules

    with sentence_for_bad_input(how_to_go_on(args)):
        import_modules(args.modules)
        run_job(load_config(args.config_file or None, args.opts), args)


def how_to_go_on(args: argparse.Namespace) -> str:
    """The user's way to continue after an interrupt."""
    if args.eval_only:
        return "run the command again"
    return "run the command with --resume, which starts from the last checkpoint in OUTPUT_DIR"


def main(argv: Sequence[str] | None = None) -> None:
    """Start the job's processes; ends with a sentence and exit code 1 on bad input.

    Args:
        argv: the command line; None takes the program's own.
    """
    parser = build_parser()
    args = parser.parse_args(argv)

    from ovseg_d2.config import find_config, load_config
    from ovseg_d2.engine.cli import refuse_misplaced_options, sentence_for_bad_input
    from ovseg_d2.engine.processes import check_processes, launch_job
    from ovseg_d2.engine.run import check_job
    from ovseg_d2.engine.user_modules import import_modules

    refuse_misplaced_options(parser, args.opts)
    with sentence_for_bad_input(how_to_go_on(args)):
        if args.config_file:  # detectron2 logs the text of the file
            args.config_file = str(find_config(args.config_file))
        check_processes(args.num_gpus, args.num_machines)
        # Also before processes start, so that bad input is reported once.
        import_modules(args.modules)
        check_job(load_config(args.config_file or None, args.opts), args)
        launch_job(
            work,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the work has begun
        print("interrupted; run the command again", file=sys.stderr)
        sys.exit(130)
