"""What this machine has: cores, bfloat16, memory; and what this process takes of it."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads() -> int:
    """What an engine uses that is not told: OMP_NUM_THREADS where it is set, else all cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) > 0 else cores()


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


CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says how much memory the container or job of this process may take."""


def free_memory() -> int:
    """Bytes that this process can still take: of the machine, its container or its own limit.

    Memory of a container that only holds files it has read counts as free, as it does for the
    machine.
    """
    free = int(psutil.virtual_memory().available)
    if hasattr(psutil, "RLIMIT_AS"):  # on Linux, what a shell or a job limits with 'ulimit -v'
        most, _ = psutil.Process().rlimit(psutil.RLIMIT_AS)
        if most != psutil.RLIM_INFINITY:
            free = min(free, most - int(psutil.Process().memory_info().vms))
    for limit, used, held in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        try:
            most, now = int((CGROUP / limit).read_text()), int((CGROUP / used).read_text())
            stat = dict(line.split() for line in (CGROUP / held).read_text().splitlines())
        except (OSError, ValueError):  # no such file, or "max": no limit
            continue
        free = min(free, most - now + int(stat.get("inactive_file", 0)))
    return max(free, 0)


def resident_memory() -> int:
    """Bytes of memory that this process has now."""
    return int(psutil.Process().memory_info().rss)


# The names and defaults of glibc's malloc.h and mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = 128 * 1024, 65536, 0


@contextmanager
def reused_memory() -> Iterator[None]:
    """While a block runs, memory that is freed is kept for the next array, as GPU libraries do.

    The allocator of Linux gives large arrays back at once, and gets the next from the system, which
    zeroes it page by page: a third of the time of a U-Net in bfloat16 (benchmarks/RESULTS.md). At
    the end all is given back. Does nothing where the C library is not glibc.
    """
    libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if libc is None:
        yield
        return
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)
    libc.mallopt(M_ARENA_MAX, 1)  # else every thread keeps what it freed for itself
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_MAX, MMAP_MAX)
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        libc.mallopt(M_ARENA_MAX, ARENA_MAX)
        libc.malloc_trim(0)


class Peak:
    """The most memory taken since it was made.

    Parameters
    ----------
    taken
        Gives the bytes that are taken now, or the most so far.
    """

    def __init__(self, taken: Callable[[], int]) -> None:
        self._taken = taken
        self._most = 0

    @property
    def most(self) -> int:
        """Bytes at the highest moment that was looked at; this is one."""
        self._most = max(self._most, self._taken())
        return self._most


@contextmanager
def watch_memory(every_s: float = 0.002) -> Iterator[Peak]:
    """The peak of resident memory above that at the start, sampled by a thread."""
    start = resident_memory()
    peak, done = Peak(lambda: resident_memory() - start), threading.Event()

    def watch() -> None:
        while not done.wait(every_s):
            _ = peak.most

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


class _SignalStack(ctypes.Structure):
    """The stack_t of Linux; flags 2 (SS_DISABLE) mean that signals use the thread's own stack."""

    _fields_ = (
        ("place", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Put the stack that signals use back afterwards.

    OpenVINO sets one of its own when it compiles for AMX, and frees it with the network: the next
    signal, such as Ctrl-C, would then end the process. Where the former one is too small for AMX,
    signals use the thread's own stack.
    """
    if sys.platform != "linux":
        yield
        return
    set_stack, before = ctypes.CDLL(None).sigaltstack, _SignalStack()
    set_stack(None, ctypes.byref(before))
    try:
        yield
    finally:
        if set_stack(ctypes.byref(before), None) != 0:
            set_stack(ctypes.byref(_SignalStack(None, 2, 0)), None)
