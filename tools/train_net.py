"""Train or evaluate what a config describes.

Examples:
    python tools/train_net.py --config-file configs/clip.yaml
    python tools/train_net.py --config-file configs/clip.yaml --resume
    python tools/train_net.py --config-file configs/maskclip.yaml --eval-only
    python tools/train_net.py --config-file configs/clip.yaml --num-gpus 2 MODEL.DEVICE cpu

With CUDA hidden or absent, --num-gpus counts processes on the CPU.
"""

import argparse

from ovseg_d2.config import load_config
from ovseg_d2.d2.engine import default_argument_parser, launch
from ovseg_d2.engine.cli import sentence_for_bad_input
from ovseg_d2.engine.run import run_job


def main(args: argparse.Namespace) -> None:
    """Do one process's share of the job."""
    run_job(load_config(args.config_file or None, args.opts), args)


if __name__ == "__main__":
    arguments = default_argument_parser(__doc__).parse_args()
    with sentence_for_bad_input():
        # Here too, so that a wrong key shows before processes start.
        load_config(arguments.config_file or None, arguments.opts)
        launch(
            main,
            arguments.num_gpus,
            num_machines=arguments.num_machines,
            machine_rank=arguments.machine_rank,
            dist_url=arguments.dist_url,
            args=(arguments,),
        )
