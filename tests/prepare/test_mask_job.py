"""Which masks are made, by whom, and what is left alone."""

import pytest

from ovseg_d2.d2.utils import comm
from ovseg_d2.data import shapes
from ovseg_d2.masks import Felzenszwalb, MaskFileError, read_info, read_masks
from ovseg_d2.prepare.mask_job import join_torchrun, plan_job

SOME = ["shapes://dev/0/3-7"]


def test_plan_job_refuses_images_of_one_mask_file(tmp_path):
    for name in ("a/x.jpg", "b/x.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"x.jpg and .*x.png would share the mask file 'x.json'"):
        plan_job([str(tmp_path / "a"), str(tmp_path / "b")], "felzenszwalb", {}, tmp_path)


def test_run_writes_the_masks_of_the_source(tmp_path):
    job = plan_job(SOME, "felzenszwalb", {"scale": 100.0}, tmp_path / "out")
    assert len(job.missing()) == 5
    job.run()
    assert job.missing() == []
    path = tmp_path / "out" / "shapes_dev_0_5.json"
    expected = Felzenszwalb(scale=100.0)(shapes.read_image("shapes://dev/0/5"))
    assert (read_masks(path, (96, 96)) == expected).all()
    assert read_info(path) == {"source": "felzenszwalb", "scale": 100.0}


def test_run_keeps_existing_files(tmp_path):
    job = plan_job(SOME, "shapes", {}, tmp_path)
    job.run()
    job.paths[1].unlink()
    before = [path.stat().st_mtime_ns for path in job.paths if path.exists()]
    plan_job(["shapes://dev/0/3-9"], "shapes", {}, tmp_path).run()
    assert len(list(tmp_path.iterdir())) == 7
    paths = [path for path in job.paths if path != job.paths[1]]
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_ranks_share_the_work(tmp_path, monkeypatch):
    job = plan_job(SOME, "shapes", {}, tmp_path)
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(comm, "get_rank", lambda: 1)
    job.run()
    assert job.missing() == [f"shapes://dev/0/{number}" for number in (3, 5, 7)]
    monkeypatch.setattr(comm, "get_rank", lambda: 0)
    job.run()
    assert job.missing() == []


def test_run_refuses_masks_of_another_source(tmp_path):
    plan_job(SOME, "shapes", {}, tmp_path).run()
    words = "was made by .*'shapes'.*, and this command has .*'felzenszwalb'.*; choose another"
    with pytest.raises(ValueError, match=words):
        plan_job(["shapes://dev/0/0-9"], "felzenszwalb", {}, tmp_path).run()


def test_run_makes_damaged_files_again(tmp_path, capsys):
    job = plan_job(SOME, "shapes", {}, tmp_path)
    job.run()
    for path in job.paths[:2]:
        path.write_text("")
    job.run()
    assert all(len(read_masks(path)) for path in job.paths)
    shown = [line for line in capsys.readouterr().err.splitlines() if "made again" in line]
    assert len(shown) == 2 and "shapes_dev_0_3.json: it is empty" in shown[0]
    for path in job.paths:
        path.write_text("")
    with pytest.raises(MaskFileError, match="shapes_dev_0_3.json: it is empty"):
        job.run()


def test_run_removes_leftovers_of_killed_runs(tmp_path):
    ours = [tmp_path / f".shapes_dev_0_{number}.json.0123abcd.tmp" for number in (4, 99)]
    other = tmp_path / "a.tmp"
    for path in (*ours, other):
        path.write_text("{")
    plan_job(SOME, "shapes", {}, tmp_path).run()
    assert not any(path.exists() for path in ours)
    assert other.exists()


def test_join_torchrun_refuses_num_gpus(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="has started 2 processes already; leave out --num-gpus 3"):
        with join_torchrun(3):
            pass
