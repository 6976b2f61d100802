"""OpenVINO as all of regraft uses it: silent, and with one core for the process."""

from __future__ import annotations

import sys
import threading
from functools import cache
from typing import Any

_MAKING_CORE = threading.Lock()


def import_openvino() -> Any:
    """The module `openvino`, kept from reporting its use over the network.

    OpenVINO has a stand-in that does nothing, and takes it when the reporting package is missing.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
    import openvino

    return openvino


def openvino_core() -> Any:
    """The process's only `openvino.Core`, which is never let go.

    For the thread that makes a core, OpenVINO sets another stack for handlers of signals. When
    cores end in the order of their making, the stack that remains set has been freed, and the
    next signal crashes the process.
    """
    with _MAKING_CORE:
        return _core()


@cache
def _core() -> Any:
    return import_openvino().Core()
