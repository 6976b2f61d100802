"""Memory that a step frees stays for the next one, and goes back afterwards."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from regraft.transfer.heap import memory_kept

PAGES = 64 * 2**20 // resource.getpagesize()
"""Of 64 MiB: more than glibc ever keeps by itself."""


def faults_of_a_step() -> int:
    """How many pages the kernel had to find for one large block."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(64 * 2**20, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    HUGE.exists() and "[always]" in HUGE.read_text(), reason="pages are large: there are few"
)
def test_a_block_that_was_freed_is_taken_again() -> None:
    assert min(faults_of_a_step() for _ in range(3)) > PAGES // 2
    with memory_kept():
        first = faults_of_a_step()
        assert first > PAGES // 2
        assert max(faults_of_a_step() for _ in range(3)) < PAGES // 10
        kept = resident_pages()
    assert kept - resident_pages() > PAGES // 2
    assert min(faults_of_a_step() for _ in range(3)) > PAGES // 2
