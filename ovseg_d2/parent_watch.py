"""Ending a process when its parent process ends, even if the parent is killed.

`python -m ovseg_d2.parent_watch PARENT_PID SCRIPT ...` runs a script that ends with that process.
The module imports nothing of this package, and every other module may import it.
"""

import os
import runpy
import sys
import threading
import time

__all__ = ["end_with_parent"]

_PERIOD = 0.5  # seconds between two looks


def end_with_parent(parent: int) -> None:
    """End this process silently as soon as its parent is gone.

    Args:
        parent: the parent's process id.
    """

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_PERIOD)
        os._exit(1)

    threading.Thread(target=look, name="end_with_parent", daemon=True).start()


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    del sys.argv[:2]
    runpy.run_path(sys.argv[0], run_name="__main__")
