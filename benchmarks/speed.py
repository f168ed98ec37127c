"""Seconds for one image, side by side with other programs: same network, same parameters.

    make bench                                               (all of it, in its own environment)
    python benchmarks/speed.py --size 256 --base-channels 4 --window 128      (a trial in a minute)

The network is the U-Net of the paper with same padding, trained for a moment, so that its classes
mean something; the image is a drawn micrograph. Each case runs in a process of its own, on the
processor (Linux), from the image in memory (Overtile: not yet normalised) to a class id per pixel.
A run on one window of the image comes first and is not
counted; what counts is the median of the repeats. The slowest run once. Memory is
the most that the process held, less what it held with network, image and libraries loaded.

The peers cut the image into windows that do not hold all that a pixel depends on, and blend what
overlaps, so their classes differ from those of one pass over the whole image; the share of such
pixels is given. The paper's tiles are compared with a pass of the valid network, which meets the
poolings at another phase: they differ because a step of 388 px is not on its grid. nnU-Net also
averages over mirrored images, by intent another answer.

Exits with 1 where a case fails, or where a float32 result that should be exact is not: a pixel has
another class than in the whole-image pass without its logits being tied.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import multiprocessing
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import convolutions
import numpy as np
import torch
from peers import ALONE, CASES, EXACT, OURS, STEPS, build, overtile, train
from torch import Tensor

from overtile.machine import describe_processor, reused_memory
from overtile.networks import UNet
from overtile.networks.torchvision import mend_torchvision
from overtile.sample import draw_sample

ROUNDING = 1e-4
"""Two classes are tied where their logits differ by less, in standard deviations over the image:
float32 keeps 7 digits, of which 23 layers cost one or two."""

COLUMNS = (
    "case",
    "precision",
    "seconds",
    "lowest to highest",
    "times Overtile",
    "times Overtile in this precision",
    "peak memory, MiB",
    "pixels of another class",
    "the same, away from the edge",
    "largest gap there",
)


@dataclass(frozen=True)
class Options:
    size: int
    base_channels: int
    repeats: int
    window_px: int


@dataclass(frozen=True)
class Measured:
    """What a case gave; `gap` is how far the logits of the two classes are apart (y x)."""

    precision: str
    seconds: list[float]
    peak_mib: float
    classes: np.ndarray
    gap: np.ndarray | None


def memory_mib(entry: str) -> float:
    """Of this process: VmRSS, what it holds in memory now; VmHWM, the most it has held."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{entry}:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1024


def measure(name: str, image: np.ndarray, options: Options) -> Measured:
    """One case, in a process that ends after it."""
    mend_torchvision()  # peers import it
    case = CASES[name]
    network, normalisation = build()
    predict = case.prepare(network, case, options.window_px)
    if case.prepare is not overtile:  # which normalises by itself, in the time that is measured
        image = normalisation(image)
    gc.collect()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    loaded_mib, seconds = memory_mib("VmRSS"), []
    with torch.inference_mode():
        predict(image[:, : options.window_px, : options.window_px])
        for _ in range(1 if case.once else options.repeats):
            start = time.perf_counter()
            result = predict(image)
            logits = result if isinstance(result, Tensor) else None
            classes = result if logits is None else logits.argmax(0).to(torch.uint8).numpy()
            seconds.append(time.perf_counter() - start)
    peak_mib = memory_mib("VmHWM") - loaded_mib
    gap = (logits[1] - logits[0]).numpy() if name == case.reference else None
    precision = case.chosen[0] if case.chosen else case.precision
    return Measured(precision, seconds, peak_mib, classes, gap)


def train_apart(_: str, options: Options) -> Path:
    return train(options.base_channels)


def measure_alone(name: str, options: Options) -> float:
    """Seconds of the bare convolutions of a whole-image pass."""
    network = skeleton(options)
    dtype = getattr(torch, ALONE[name])
    # Memory is reused as by Overtile, so that both are the same machine.
    with torch.inference_mode(), reused_memory():
        return convolutions.seconds(network, options.size, dtype, options.repeats)


def skeleton(options: Options) -> UNet:
    """The network's shapes without its values."""
    with torch.device("meta"):
        return UNet(padding="same", base_channels=options.base_channels).eval()


def apart(act: Callable[..., Any], name: str, *arguments: object) -> Any:
    """What a function gives in a new process; None, with the reason on stderr, where it fails."""
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    start = time.perf_counter()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            result = pool.submit(act, name, *arguments).result()
        except Exception as error:  # its own, or that the process was killed: others go on
            print(f"failed: {error}", file=sys.stderr)
            return None
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    return result


def describe(options: Options, operations: int) -> str:
    """The lines above the tables: what ran where."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "monai", "nnunetv2"))
    size = options.size
    return f"""    python benchmarks/speed.py {" ".join(sys.argv[1:])}

{describe_processor()}, {torch.get_num_threads()} threads; CPython {platform.python_version()}, \
{libraries}; commit {commit or "unknown"}.
{size} x {size} px, {options.base_channels} base channels, {operations / 1e9:,.1f} GFLOP for a
pass over the whole image; windows of {options.window_px} px, median of {options.repeats}
(float32 of whole image, MONAI 0.5, nnU-Net, valid network: 1); {STEPS} training steps.
"""


def other_classes(name: str, results: dict[str, Measured]) -> tuple[float, float, float] | None:
    """Where the classes are not those of one pass over the whole image; None without that pass.

    Returns
    -------
    tuple
        Share of such pixels; the same away from the image's edge, by more than the network sees;
        and the largest gap between the logits at one, in standard deviations.
    """
    reference = results.get(CASES[name].reference)
    if reference is None:
        return None
    other = results[name].classes != reference.classes
    lead = UNet(padding="same", base_channels=1).fields[0].lead
    inner = other[lead:-lead, lead:-lead]
    gap = np.abs(reference.gap[other]).max(initial=0) / reference.gap.std()
    return float(other.mean()), float(inner.mean() if inner.size else np.nan), float(gap)


def table(results: dict[str, Measured]) -> list[str]:
    """A header, and a row for each case."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    medians = {name: statistics.median(found.seconds) for name, found in results.items()}
    ours = {results[name].precision: medians[name] for name in OURS.values() if name in results}
    for name, found in results.items():
        other = other_classes(name, results)
        cells = [
            CASES[name].title,
            found.precision,
            f"{medians[name]:.3f}",
            f"{min(found.seconds):.3f} to {max(found.seconds):.3f}",
            ratio(medians[name], medians.get(OURS["auto"])),
            ratio(medians[name], ours.get(found.precision)),
            f"{found.peak_mib:,.0f}",
            *(
                "---"
                if other is None
                else (f"{other[0]:.3%}", f"{other[1]:.3%}", f"{other[2]:.1e}")
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def table_alone(
    alone: dict[str, float], results: dict[str, Measured], operations: int
) -> list[str]:
    """A row for each precision: the bare convolutions, and how near Overtile comes to them."""
    lines = [
        "| convolutions alone | seconds | TFLOP/s | whole prediction | seconds | its share |",
        "|---|---|---|---|---|---|",
    ]
    for name, bare_s in alone.items():
        bare = f"| {ALONE[name]} | {bare_s:.3f} | {operations / bare_s / 1e12:.3f} "
        for other, found in results.items():
            if CASES[other].prepare is overtile and found.precision == ALONE[name]:
                whole_s = statistics.median(found.seconds)
                share = f"{bare_s / whole_s:.0%}"
                lines.append(f"{bare}| {CASES[other].title} | {whole_s:.3f} | {share} |")
    return lines


def ratio(seconds: float, ours: float | None) -> str:
    return "-" if ours is None else f"{seconds / ours:.2f}"


def read_arguments() -> tuple[Options, list[str]]:
    names = [*CASES, *ALONE]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048, help="side of the image, px")
    parser.add_argument("--base-channels", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--window", type=int, default=512, help="side of the peers' windows, px")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CASE")
    given = parser.parse_args()
    options = Options(given.size, given.base_channels, given.repeats, given.window)
    return options, [name for name in names if name in given.only]


def main() -> None:
    options, names = read_arguments()
    image = draw_sample(0, 0, (options.size, options.size))[0][None]
    apart(train_apart, "training", options)
    results = {name: apart(measure, name, image, options) for name in names if name in CASES}
    alone = {name: apart(measure_alone, name, options) for name in names if name in ALONE}
    failed = [name for name, found in (results | alone).items() if found is None]
    results = {name: found for name, found in results.items() if found is not None}
    alone = {name: found for name, found in alone.items() if found is not None}

    operations = sum(
        call.operations for call in convolutions.calls(skeleton(options), options.size)
    )
    print(describe(options, operations))
    print("\n".join(table(results)))
    if alone:
        print("\n".join(["", *table_alone(alone, results, operations)]))
    found = {name: other_classes(name, results) for name in EXACT if name in results}
    inexact = [name for name, other in found.items() if other and other[2] > ROUNDING]
    for word, these in (("Failed", failed), ("Not exact", inexact)):
        if these:
            print(f"{word}: {', '.join(these)}")
    sys.exit(bool(failed or inexact))


if __name__ == "__main__":
    main()
