"""Peak memory of a piece of work."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """The peak resident memory of this process since a moment, where the system can tell.

    Where it cannot (no /proc, or not allowed), the peak of the whole process.
    """

    reset: bool

    @staticmethod
    def since_now() -> PeakMemory:
        """Start counting anew (Linux: writing 5 to clear_refs resets the high-water mark)."""
        try:
            _CLEAR.write_text("5")
        except OSError:
            return PeakMemory(reset=False)
        return PeakMemory(reset=True)

    def bytes(self) -> int:
        """The peak so far, in bytes."""
        if self.reset:
            for line in _STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
