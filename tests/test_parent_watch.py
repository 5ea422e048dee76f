import os
import runpy
import select
import signal
import sys

from ovseg_d2.parent_watch import end_with_parent

SECONDS = 60


def test_end_with_parent_if_the_parent_is_killed():
    ready, done = os.pipe()
    parent = os.fork()
    if parent == 0:
        starter = os.getpid()
        if os.fork() == 0:
            end_with_parent(starter)
            os.write(done, b"x")
            signal.pause()
        signal.pause()
    os.close(done)
    with os.fdopen(ready, "rb", buffering=0) as pipe:
        assert pipe.read(1) == b"x"
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        # The pipe ends when the last process that holds it is gone.
        assert select.select([pipe], [], [], SECONDS)[0], "the process lives on"
        assert pipe.read(1) == b""


def test_script_runs_as_main(tmp_path, monkeypatch, capsys):
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint(__name__, sys.argv)")
    watched = []
    monkeypatch.setattr(sys, "argv", ["parent_watch", str(os.getppid()), str(script), "--flag"])
    monkeypatch.setattr("threading.Thread.start", lambda thread: watched.append(thread.name))
    runpy.run_module("ovseg_d2.parent_watch", run_name="__main__")
    assert capsys.readouterr().out == f"__main__ ['{script}', '--flag']\n"
    assert watched == ["end_with_parent"]
