"""Whether bfloat16 is clearly quicker on this machine, by the clock.

A processor that does not have it is not asked: there it is emulated.

The answer is kept in the run, so a run that goes on computes as it began. Two runs may differ in
it where the times are close, and then in bits; who wants the same bits sets `Settings.bf16`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from regraft.store import Outcome
from regraft.transfer.engine import has_bfloat16
from regraft.transfer.heap import memory_kept

CLEARLY = 0.9
"""Share of the time that bfloat16 may take to be called quicker: it costs a little accuracy, and
what is decided should not be chance."""
_TIMES = 3


def measured(take: Callable[[bool], None]) -> Outcome:
    """Time both, in turns; the best time of each counts.

    Args:
        take: goes forward and backward over a few samples, in bfloat16 or in float32.

    Returns:
        facts: "bf16", whether it is clearly quicker, and "seconds" in float32 and in bfloat16,
        None where the processor does not have it.
    """
    if not has_bfloat16():
        return Outcome({"bf16": False, "seconds": None})
    took = {False: math.inf, True: math.inf}
    with memory_kept():
        for bf16 in (False, True) * _TIMES:
            began = time.perf_counter()
            take(bf16)
            took[bf16] = min(took[bf16], time.perf_counter() - began)
    quicker = took[True] < CLEARLY * took[False]
    return Outcome({"bf16": quicker, "seconds": [took[False], took[True]]})
