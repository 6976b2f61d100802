"""How a process of our own is started."""

from __future__ import annotations

import os
import sys


def own_process(module: str) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of `python -m module`.

    It sees the packages that this process sees, and no others: what lies in the working directory,
    which may be somebody else's data, is not imported, whatever its name.
    """
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-P", "-W", "ignore", "-m", module]
    return command, {**os.environ, "PYTHONPATH": paths}
