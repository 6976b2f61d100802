"""What this machine has, as far as it decides how and how fast things are computed."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from regraft.openvino_runtime import openvino_core
from regraft.store import digest

_CPUINFO = Path("/proc/cpuinfo")


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def processor() -> str:
    """sha256 of what decides how this processor computes: its model and what it can do."""
    first = _CPUINFO.read_text().split("\n\n")[0] if _CPUINFO.exists() else platform.processor()
    keep = ("vendor_id", "model name", "flags", "Features", "CPU part")
    lines = [line for line in first.splitlines() if line.startswith(keep)]
    return digest(platform.machine(), *(lines or [first]))


def has_bfloat16() -> bool:
    """Whether this processor computes in bfloat16, and is faster so."""
    able = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in able and bfloat16_pays(_CPUINFO.read_text() if _CPUINFO.exists() else "")


def bfloat16_pays(cpuinfo: str) -> bool:
    """Whether a processor that computes in bfloat16 is faster so, by Linux's description of it.

    Intel's with AMX are, and AMD's. Where a virtual machine hides AMX, what is left of Intel's
    instructions for bfloat16 takes longer than float32: OpenVINO 1.7 times with EfficientNet-Lite0
    and 2.5 times with MiniLM, torch about twice (Emerald Rapids, two cores).
    """
    return "GenuineIntel" not in cpuinfo or "amx_bf16" in cpuinfo


def has_gpu() -> bool:
    """Whether torch can use a GPU. Where no driver is, torch is not imported to find out."""
    if not Path("/dev/nvidiactl").exists():
        return False
    import torch

    return torch.cuda.is_available()


def gpu_name() -> str:
    """What torch calls the GPU; only where `has_gpu`."""
    import torch

    return torch.cuda.get_device_name()
