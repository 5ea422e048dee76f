"""Contract of launch: jobs of one process and of two."""

import json
import runpy
from pathlib import Path

import pytest

from ovseg_d2.d2.engine import launch


def test_launch_of_one_process_is_a_call():
    calls: list[tuple[int, str]] = []
    assert launch(lambda *args: calls.append(args), 1, args=(3, "x")) is None
    assert calls == [(3, "x")]


def test_launch_finds_a_port_for_one_machine_only():
    with pytest.raises(AssertionError, match="dist_url=auto not supported in multi-machine jobs."):
        launch(print, 1, num_machines=2, dist_url="auto")


@pytest.mark.slow
def test_two_processes_gather_train_and_evaluate(tmp_path):
    # Run by path, because spawned processes cannot import a test module by its name.
    worker = Path(__file__).with_name("launch_worker.py")
    launch(runpy.run_path, 2, dist_url="auto", args=(str(worker), {"OUTPUT_DIR": str(tmp_path)}))
    reports = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]

    for rank, report in enumerate(reports):
        assert report["rank"] == report["local_rank"] == rank
        assert report["world_size"] == 2
        assert report["is_main"] is (rank == 0)
        assert report["all_gather"] == [{"rank": 0}, {"rank": 1}]
        # Gradients 1 and 2 are averaged; the step is 0.5 of that.
        assert report["slope"] == 1.0 - 0.5 * 1.5
    assert [report["gather"] for report in reports] == [[0, 10], []]
    # All six pixels are predicted as sky, three of them rightly.
    half = pytest.approx(50)
    assert [report["metrics"] for report in reports] == [[half, half], [None, None]]
    predictions = json.loads((tmp_path / "sem_seg_predictions.json").read_text())
    assert [prediction["file_name"] for prediction in predictions] == ["0", "1", "2"]
    # Losses 1 and 2 are averaged, on the main process alone.
    assert [report["losses"] for report in reports] == [{"total_loss": 1.5}, {}]
