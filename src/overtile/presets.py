"""The recipes of training that have a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from overtile.errors import SettingsError
from overtile.settings import (
    NETWORK_SETTINGS,
    AugmentSettings,
    ConvolutionSettings,
    Frozen,
    NetworkSettings,
    OptimiserSettings,
    PixelWeightSettings,
    Settings,
    WindowSettings,
    dotted_names,
    from_dict,
    mapping_of,
)

CLIP_NORM = 10.0
"""Twenty times the gradients of usual steps: on ISBI 2012 their norm was 0.5 in the median and 2.2
at most (small networks, batches of 1 to 4). It acts on the rare batch that goes wrong."""

RATES = {"muon": 1e-2, "adamw": 2e-3, "adam": 2e-3, "sgd": 1e-2}
"""Highest learning rate by optimiser: measured for Muon and AdamW on networks with norms
(benchmarks/RESULTS.md), usual for the others."""

Preset = Literal["default", "paper"]


def default_settings(network: str = "unet") -> Settings:
    """The best measured in a quarter of an hour on two processor cores (benchmarks/RESULTS.md)."""
    chosen = _kind(network).suggested()
    optimiser = optimiser_for(chosen)
    return Settings(
        preset="default",
        network=chosen,
        window=WindowSettings(size_px=256, batch_size=4),
        augment=AugmentSettings(colour=0.3),
        pixel_weight=PixelWeightSettings(
            border_weight=5.0, balance_classes=False, separation="class"
        ),
        optimiser=OptimiserSettings(
            name=optimiser, learning_rate=RATES[optimiser], weight_decay=0.01, clip_norm=CLIP_NORM
        ),
        border=chosen.border,
        averaging=0.998,
        calibrate=True,
    )


def optimiser_for(network: NetworkSettings) -> Literal["muon", "adamw"]:
    """Muon where convolutions have norms and no encoder is pretrained: there it was measured."""
    normed = isinstance(network, ConvolutionSettings) and network.norm != "none"
    return "muon" if normed else "adamw"


def paper_settings(network: str = "unet") -> Settings:
    """The training of Ronneberger et al. 2015 (arXiv:1505.04597).

    From the paper: the network, valid convolutions, large tiles at batch size 1, momentum 0.99,
    cross-entropy with class-balanced border weights (w0 10, sigma 5), drop-out at the end of the
    contracting path, shifts, rotations, elastic deformation of 10 px on a 3 x 3 grid and gray-value
    variation. Where it is silent we chose: input 572 px, a constant learning rate of 1e-4 (with
    this momentum worth 1e-2), no weight decay, drop-out probability 0.5, flips, no scaling.
    Another network comes with the defaults of its own paper.
    """
    sides: dict[str, int | tuple[int, ...]] = {"unet": 572, "unet3d": (116, 132, 132)}
    return Settings(
        preset="paper",
        network=_kind(network)(),
        window=WindowSettings(size_px=sides.get(network, 576), batch_size=1),
        augment=AugmentSettings(deform=1.0, recolour=1.0, scale=0.0, noise=0.0),
        optimiser=OptimiserSettings(
            name="sgd", learning_rate=1e-4, momentum=0.99, weight_decay=0.0, schedule="constant"
        ),
        border="mirror",
    )


def resolve(
    settings: Preset | Settings, network: str | None = None, earlier: Settings | None = None
) -> Settings:
    """A preset's settings, or settings as they are given.

    Parameters
    ----------
    settings
        A preset, or all settings.
    network
        Its name, for a preset.
    earlier
        Settings of the model that training starts from: a preset then takes its network, unless
        another is named.

    Raises
    ------
    SettingsError
        There is no such network, or one is named beside settings that hold their own.
    """
    if not isinstance(settings, Settings):
        chosen = PRESETS[settings](network or "unet")
        if earlier is None or network is not None:
            return chosen
        return chosen.model_copy(update={"network": earlier.network, "border": earlier.border})
    if network is not None:
        raise SettingsError(
            f"The settings hold a network, {settings.network.name}, and {network} is asked for: "
            "change it in the settings, or take a preset."
        )
    return settings


def _kind(network: str) -> type[NetworkSettings]:
    """The settings of a network by its name, or an error that lists the names there are."""
    if network not in NETWORK_SETTINGS:
        known = ", ".join(NETWORK_SETTINGS)
        raise SettingsError(f"There is no network '{network}'; known: {known}.")
    return NETWORK_SETTINGS[network]


PRESETS: dict[Preset, Callable[[str], Settings]] = {
    "default": default_settings,
    "paper": paper_settings,
}
"""Name -> recipe, for a network by its name."""


@dataclass(frozen=True)
class Wanted:
    """Settings, and which of them a person set, so that a plan keeps them.

    Attributes
    ----------
    settings
        All of them.
    kept
        Dotted names, of settings such as ``window.size_px`` or of groups such as ``network``; None:
        all are kept.
    """

    settings: Settings
    kept: frozenset[str] | None = None

    def keeps(self, name: str) -> bool:
        """Whether a setting, by its dotted name, is to stay as it is."""
        if self.kept is None:
            return True
        parts = name.split(".")
        return any(".".join(parts[:end]) in self.kept for end in range(1, len(parts) + 1))

    @property
    def set_one_by_one(self) -> list[str]:
        """The settings among these names, sorted."""
        names = sorted(self.kept or ())
        return [name for name in names if "." in name or not _is_group(self.settings, name)]


def names_of_network(settings: Settings) -> frozenset[str]:
    """The settings that go with a network that is taken over, but not what the data decide."""
    names = set(type(settings.network).model_fields) - {"channels", "classes"}
    return frozenset({f"network.{name}" for name in names} | {"border"})


def _is_group(settings: Settings, name: str) -> bool:
    return isinstance(getattr(settings, name, None), Frozen)


def read_settings(text: str, origin: str) -> Wanted:
    """The settings of a file, which are kept; what it leaves out is the preset's, and left open.

    Parameters
    ----------
    text
        YAML. Its ``preset`` (by default ``default``) and ``network.name`` say what it is laid over.
    origin
        Names the text in an error.

    Raises
    ------
    SettingsError
        As `overtile.settings.from_yaml`.
    """
    content = mapping_of(text, origin)
    network = content.get("network")
    name = network.get("name", "unet") if isinstance(network, dict) else "unet"
    preset = content.get("preset", "default")
    if preset not in PRESETS or name not in NETWORK_SETTINGS or not isinstance(network or {}, dict):
        return Wanted(from_dict(Settings, content, origin))  # which refuses it by its name
    below = PRESETS[preset](name).model_dump(mode="json")
    for key, value in content.items():
        inside = isinstance(value, dict) and isinstance(below.get(key), dict)
        below[key] = below[key] | value if inside else value
    return Wanted(from_dict(Settings, below, origin), frozenset(dotted_names(content)))
