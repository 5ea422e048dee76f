"""Processes of a job: where they meet is checked first, and none outlives the job."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ovseg_d2.engine import processes
from ovseg_d2.engine.processes import check_dist_url, check_processes, launch_job

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120  # to wait at most, on a machine that is busy


@pytest.fixture
def used_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_used_port_is_one_sentence(used_port):
    url = f"tcp://127.0.0.1:{used_port}"
    with pytest.raises(
        ValueError, match=f"--dist-url {url}: cannot listen at port {used_port} "
    ) as caught:
        launch_job(print, 2, dist_url=url, args=())
    assert "give another port, or --dist-url auto on one machine" in str(caught.value)
    assert "\n" not in str(caught.value)
    # Other machines only connect to it, and one process alone needs no port.
    check_dist_url(url, 1, 2, 1)
    check_dist_url(url, 1, 1, 0)


def test_check_dist_url_accepts_a_free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for url in (f"tcp://127.0.0.1:{port}", "auto", "file:///somewhere", "env://"):
        check_dist_url(url, 2, 1, 0)


@pytest.mark.parametrize(
    ("url", "machines", "rank", "sentence"),
    [
        ("tcp://127.0.0.1", 1, 0, "is not tcp://HOST:PORT; give such an address, or auto"),
        ("tcp://127.0.0.1:99999", 1, 0, "is not tcp://HOST:PORT; give such an address, or auto"),
        ("tcp://:49152", 1, 0, "is not tcp://HOST:PORT; give such an address, or auto"),
        ("tcp://no.such.host.invalid:49152", 2, 1, "the host 'no.such.host.invalid' is unknown"),
        ("auto", 2, 0, "auto works on one machine, and --num-machines is 2; give tcp"),
        ("auto", 2, 2, "--machine-rank 2 is not one of the 2 machines; give a number from 0 to 1"),
        ("auto", 1, -1, "--machine-rank -1 is not one of the 1 machines"),
    ],
)
def test_check_dist_url_refuses_bad_addresses(url, machines, rank, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_dist_url(url, 2, machines, rank)


def test_check_processes(monkeypatch):
    check_processes(1, 1)
    with pytest.raises(ValueError, match="--num-gpus 1 --num-machines 0 starts no process"):
        check_processes(1, 0)
    monkeypatch.setattr(processes.torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="--num-gpus 2, but 1 are visible"):
        check_processes(2, 1)


def test_launch_job_of_one_process_runs_here():
    seen = []
    launch_job(lambda word: seen.append((word, os.getpid())), 1, args=("a",))
    assert seen == [("a", os.getpid())]


# Two processes that tell their numbers and then work for ever.
JOB = """
import os, sys, time
def work(folder):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    os.write(1, b"started\\n")  # in one piece, beside the other process
    time.sleep(1000)
if __name__ == "__main__":
    from ovseg_d2.engine.cli import sentence_for_bad_input
    from ovseg_d2.engine.processes import launch_job
    with sentence_for_bad_input("add --resume"):
        launch_job(work, 2, args=(sys.argv[1],))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_job_processes_end_with_their_starter(tmp_path, number):
    script, pids = tmp_path / "job.py", tmp_path / "pids"
    script.write_text(JOB)
    pids.mkdir()
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    job = subprocess.Popen(
        [sys.executable, script, pids],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that runs in the background of a shell ignores interrupts, and so would the job.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert [job.stdout.readline() for _ in range(2)] == ["started\n"] * 2
    job.send_signal(number)
    # Both pipes end when the last process that holds them is gone.
    _, told = job.communicate(timeout=SECONDS)
    assert len(list(pids.iterdir())) == 2
    if number == signal.SIGKILL:
        assert job.returncode == -signal.SIGKILL
    else:
        assert job.returncode == 130
        assert told.splitlines()[-1] == "interrupted; to go on, add --resume"
        assert "Traceback" not in told
