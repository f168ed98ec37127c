"""What `overtile summary` prints."""

from __future__ import annotations

from overtile.cli.changing import parse_change
from overtile.cli.show import print_table, say
from overtile.errors import SettingsError
from overtile.geometry import per_axis, unet_fields
from overtile.networks import NETWORKS
from overtile.networks.summary import summarise
from overtile.settings import UNetSettings, from_dict


def print_summary(name: str, size: int, given: list[str]) -> None:
    """Print the layer table of a network at an input size."""
    if name not in NETWORKS:
        raise SettingsError(f"There is no network '{name}'; known: {', '.join(NETWORKS)}.")
    settings = from_dict(UNetSettings, {"name": name} | dict(map(parse_change, given)), "--set")
    fields = unet_fields(settings)
    layers = summarise(settings, size)
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
    print_table(f"{name} at {size} px", columns, rows, text=3)
    convolutions = sum("conv" in layer.kind for layer in layers)
    trainable = sum(layer.trainable for layer in layers)
    gflop = sum(layer.flop for layer in layers) / 1e9
    say(f"{convolutions} convolutions, {trainable:,} trainable parameters, {gflop:,.0f} GFLOP.")
    say(
        f"{settings.padding} padding: "
        f"{size} -> {per_axis(field.out(size) for field in fields)} px; "
        f"grid {per_axis(field.grid for field in fields)} px, "
        f"margin {per_axis(field.margin for field in fields)} px; "
        f"smallest input {per_axis(field.smallest for field in fields)} px; "
        + ("exact in tiles." if settings.is_exact else f"tiles are blended ({settings.norm} norm).")
    )
