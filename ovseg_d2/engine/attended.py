"""Run a script that ends with the process that started it, even if that is killed.

    python -m ovseg_d2.engine.attended PID SCRIPT ...

PID is the process id of the parent.
"""

import runpy
import sys

from .processes import end_with_parent

if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    del sys.argv[:2]
    runpy.run_path(sys.argv[0], run_name="__main__")
