"""Run a script that ends when its parent process ends, even if the parent is killed.

python -m ovseg_d2.engine.attended PARENT_PID SCRIPT ...
"""

import runpy
import sys

from .processes import end_with_parent

if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    del sys.argv[:2]
    runpy.run_path(sys.argv[0], run_name="__main__")
