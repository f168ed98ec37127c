"""What `overtile summary` prints."""

from __future__ import annotations

from typing import Any

import torch

from overtile.cli.changing import parse_change
from overtile.cli.show import print_table, say
from overtile.errors import SettingsError
from overtile.geometry import per_axis
from overtile.networks import NETWORKS, Network
from overtile.networks.summary import summarise


def print_summary(name: str, size: str | None, given: list[str]) -> None:
    """Print the layer table of a network at an input size; by default at one that fits."""
    if name not in NETWORKS:
        raise SettingsError(f"There is no network '{name}'; known: {', '.join(NETWORKS)}.")
    values: dict[str, Any] = dict(map(parse_change, given))
    with torch.device("meta"):
        network = NETWORKS[name](**values)
    settings, fields = network.settings, network.fields
    space = _space(size, network)
    layers = summarise(network, space)
    rows = [
        [
            layer.name,
            layer.kind,
            layer.shape_text,
            f"{layer.parameters:,}",
            f"{layer.trainable:,}",
            ", ".join(layer.inputs),
        ]
        for layer in layers
    ]
    columns = ["name", "layer", "output", "parameters", "trainable", "connected to"]
    print_table(f"{name} at {per_axis(space)} px", columns, rows, text=3)
    convolutions = sum("conv" in layer.kind for layer in layers)
    trainable = sum(layer.trainable for layer in layers)
    gflop = sum(layer.flop for layer in layers) / 1e9
    work = f"{gflop:,.0f}" if gflop >= 100 else f"{gflop:.3g}"
    out = (field.out(side) for side, field in zip(space, fields, strict=True))
    say(f"{convolutions} convolutions, {trainable:,} trainable parameters, {work} GFLOP.")
    say(
        f"{settings.padding} padding: {per_axis(space)} -> {per_axis(out)} px; "
        f"grid {per_axis(field.grid for field in fields)} px, "
        f"margin {per_axis(field.margin for field in fields)} px; "
        f"smallest input {per_axis(field.smallest for field in fields)} px; "
        + ("exact in tiles." if network.is_exact else "not exact in tiles, which are blended.")
    )


SIZE_PX = {2: 512, 3: 64}
"""The input whose table is shown, or the next larger one that fits, by dimensions."""


def _space(text: str | None, network: Network) -> tuple[int, ...]:
    """The sizes of "572" or "116x132x132"; by default the first that fit from `SIZE_PX` on."""
    dimensions = network.settings.dimensions
    if text is None:
        return tuple(field.good_size(SIZE_PX[dimensions]) for field in network.fields)
    parts = text.split("x")
    if len(parts) not in (1, dimensions) or not all(part.isdigit() for part in parts):
        shown = "x".join("572" for _ in range(dimensions))
        raise SettingsError(f"--size {text}: expected one side in px, or each, such as {shown}.")
    return tuple(map(int, parts * (dimensions if len(parts) == 1 else 1)))
