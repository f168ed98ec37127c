"""What this machine has: cores, bfloat16, a GPU."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_processor() -> str:
    """The processor's name and the cores in use, for records of a run."""
    name = platform.processor() or platform.machine()
    table = Path("/proc/cpuinfo")
    if table.exists():
        names = [line for line in table.read_text().splitlines() if line.startswith("model name")]
        name = names[0].split(":", 1)[1].strip() if names else name
    return f"{name}, {cores()} cores"


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively (AVX-512 BF16 or AMX).

    Without such instructions bfloat16 is emulated and slower than float32. Where the processor
    does not list its features (no /proc/cpuinfo), the answer is no.
    """
    table = Path("/proc/cpuinfo")
    if not table.exists():
        return False
    flags = next((line for line in table.read_text().splitlines() if line.startswith("flags")), "")
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())
