"""Memory that a step frees stays for the next one, and goes back afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")

MEASURED = """
import json, resource
from pathlib import Path
import torch
from regraft.transfer.heap import memory_kept

def faults(steps):
    "Pages that the kernel had to find for one block of 64 MiB in each step."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        torch.empty(64 * 2**20, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

plain = faults(10)
with memory_kept():
    faults(12)  # aligned blocks move up a little before they find their places
    kept, during = faults(10), resident()
print(json.dumps([plain, kept, during - resident()]))
"""


@pytest.mark.skipif(
    HUGE.exists() and "[always]" in HUGE.read_text(), reason="pages are large: there are few"
)
def test_a_block_that_was_freed_is_taken_again() -> None:
    """In a process of its own: what others left in the heap would be taken first."""
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, check=True)
    plain, kept, given_back = json.loads(done.stdout)
    assert kept < 0.4 * plain
    assert given_back > plain / 20, "half a block at least"
