"""Memory that a training step frees is kept for the next one.

glibc gives large blocks back to the system as soon as they are freed, and takes new ones in the
next step, which the kernel fills with zeros first. A step of EfficientNet-Lite0 (32 pictures, two
virtual cores) faulted in 600,000 pages so and spent 1.2 of 3.2 s of processor time in the kernel;
with the memory kept 0.1 of 2.0 s. It costs a fifth more memory, given back when the block ends.
"""

from __future__ import annotations

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1
_AS_IT_WAS = {_MMAP_MAX: 65536, _TRIM_THRESHOLD: 128 * 1024}
"""What mallopt(3) has as defaults."""


@contextmanager
def memory_kept() -> Generator[None]:
    """While the block runs, freed memory stays with the process. Does nothing without glibc."""
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        for name, value in _AS_IT_WAS.items():
            libc.mallopt(name, value)
        libc.malloc_trim(0)


@cache
def _glibc() -> Any:
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if libc.mallopt and libc.malloc_trim else None
    except (OSError, AttributeError):
        return None
