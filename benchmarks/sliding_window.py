"""What a pixel costs: the sliding window, the same network evaluated densely, and U-Nets.

    python benchmarks/sliding_window.py
    python benchmarks/sliding_window.py --size 64 --rows 1 --repeats 1          (a trial in seconds)

All predict the same image in float32, in one process, mirrored by what they see; the sliding window
a sample of its rows, in batches of patches. The cases take turns, each in both memory layouts; the
median of the repeats counts, of the faster layout. Operations are counted, two for a multiplication
with its addition. A ratio of times that equals the ratio of the counts means that both
run at the same rate; the table says how far each is from that.

Exits with 1 where the sliding window and the dense form differ by more than 1e-5 of the largest
logit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from overtile.geometry import mirror_indices
from overtile.machine import describe_processor
from overtile.networks import Network, PatchNet, build
from overtile.networks.blocks import fold_norms
from overtile.networks.patchnet import PATCH_PX
from overtile.networks.summary import summarise
from overtile.presets import default_settings, paper_settings
from overtile.sample import draw_sample
from overtile.settings import NetworkSettings, PatchNetSettings

LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Case:
    """A way to predict: what is timed, the pixels that this gives, and operations for each."""

    network: Network
    act: Callable[[Tensor], Tensor]
    windows: list[Tensor]
    pixels: int
    flop_per_px: float

    def run(self) -> list[Tensor]:
        return [self.act(window) for window in self.windows]


def mirrored(image: Tensor, network: Network) -> Tensor:
    """The image (1 c y x) with what a network reads around it."""
    for axis, field in enumerate(network.fields, start=2):
        size = image.shape[axis]
        before = field.margin if field.padding == "valid" else 0
        indices = mirror_indices(-before, field.size_for(size) - before, size)
        image = image.index_select(axis, torch.from_numpy(indices))
    return image


def whole(settings: NetworkSettings, image: Tensor) -> Case:
    """One pass over the whole image."""
    network = build(settings).eval()
    window = mirrored(image, network)
    with torch.device("meta"):
        layers = summarise(type(network)(settings), window.shape[2:])
    pixels = image[0, 0].numel()
    flop = sum(layer.flop for layer in layers)
    return Case(fold_norms(network), network, [window], pixels, flop / pixels)


def sliding(network: PatchNet, window: Tensor, rows: list[int]) -> Case:
    """Every pixel of these rows of the image, patch by patch."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        PatchNet(network.settings).forward_patches(torch.empty(1, 1, PATCH_PX, PATCH_PX))
    strips = [window[:, :, row : row + PATCH_PX] for row in rows]
    pixels = len(rows) * (window.shape[3] - PATCH_PX + 1)
    return Case(network, network.sliding_window, strips, pixels, counter.get_total_flops())


def measure(cases: dict[str, Case], repeats: int) -> dict[str, tuple[float, str]]:
    """Microseconds for each pixel, the median of the faster layout, and that layout."""
    times: dict[tuple[str, str], list[float]] = {}
    for repeat in range(repeats + 1):  # the first warms up
        for layout, form in LAYOUTS.items():
            for name, case in cases.items():
                case.network.to(memory_format=form)
                start = time.perf_counter()
                case.run()
                if repeat:
                    took = time.perf_counter() - start
                    times.setdefault((name, layout), []).append(took)
    found: dict[str, tuple[float, str]] = {}
    for (name, layout), values in times.items():
        one = (statistics.median(values) / cases[name].pixels * 1e6, layout)
        found[name] = min(found.get(name, one), one)
    return found


def report(cases: dict[str, Case], found: dict[str, tuple[float, str]]) -> None:
    """A row for each case, and one for each pair."""
    print("| case | layout | ms per pixel | kFLOP per pixel | GFLOP/s |\n|---|---|---|---|---|")
    for name, (each_us, layout) in found.items():
        flop = cases[name].flop_per_px
        rate = flop / each_us / 1e3
        print(f"| {name} | {layout} | {each_us / 1e3:.3g} | {flop / 1e3:,.0f} | {rate:.1f} |")
    print("\n| ratio | measured | by operations | measured / by operations |\n|---|---|---|---|")
    names = list(cases)
    for first in names[:2]:
        for second in names[names.index(first) + 1 :]:
            took = found[first][0] / found[second][0]
            counted = cases[first].flop_per_px / cases[second].flop_per_px
            print(f"| {first} / {second} | {took:.3g} | {counted:.3g} | {took / counted:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="side of the image, px")
    parser.add_argument("--rows", type=int, default=4, help="of the sliding window")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    image = torch.from_numpy(draw_sample(0, 0, (given.size, given.size))[0]).float()[None, None]
    image = (image - image.mean()) / image.std()
    rows = [given.size * (2 * row + 1) // (2 * given.rows) for row in range(given.rows)]
    with torch.inference_mode():
        dense = whole(PatchNetSettings(), image)
        cases = {
            "sliding window": sliding(dense.network, dense.windows[0], rows),
            "the same, dense": dense,
            "U-Net of the paper": whole(paper_settings().network, image),
            "U-Net by default": whole(default_settings().network, image),
        }
        logits = dense.run()[0]
        slid = torch.cat(cases["sliding window"].run(), dim=2)
        difference = float((logits[:, :, rows] - slid).abs().max() / logits.abs().max())
        found = measure(cases, given.repeats)
    print(
        f"{describe_processor()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__};"
    )
    print(f"{given.size} x {given.size} px, {given.rows} rows slid, {given.repeats} repeats.\n")
    report(cases, found)
    print(f"\nSliding window and dense form differ by {difference:.1e} of the largest logit.")
    sys.exit(difference > TOLERANCE)


if __name__ == "__main__":
    main()
