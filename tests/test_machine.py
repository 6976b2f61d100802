from __future__ import annotations

import os

import pytest

from regraft.machine import bfloat16_pays, cores


def test_cores_are_those_that_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert cores() == len(allowed)


@pytest.mark.parametrize(
    ("cpuinfo", "pays"),
    [
        ("vendor_id\t: GenuineIntel\nflags\t\t: avx512_bf16 avx512_fp16\n", False),
        ("vendor_id\t: GenuineIntel\nflags\t\t: avx512_bf16 amx_bf16 amx_tile\n", True),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: avx512_bf16\n", True),
        ("CPU implementer\t: 0x41\nFeatures\t: bf16\n", True),
    ],
)
def test_bfloat16_is_taken_where_it_is_faster(cpuinfo: str, pays: bool) -> None:
    assert bfloat16_pays(cpuinfo) == pays
