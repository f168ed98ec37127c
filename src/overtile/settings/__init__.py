"""Everything a run needs, typed: a wrong key, a wrong value or a clash stops here with its name.

Settings are frozen pydantic models, nested by the part of the run they steer, and they are written
as YAML with every value in it, so that the file in a model folder says all that was done.
"""

from overtile.settings.augment import AugmentSettings, Deformation
from overtile.settings.encoder import EncoderUNetSettings, PretrainedSettings
from overtile.settings.fcn import FCNSettings
from overtile.settings.labels import LabelKind, LabelSettings, NamedClass
from overtile.settings.networks import ConvolutionSettings, NetworkSettings, Padding
from overtile.settings.normalisation import NormalisationSettings
from overtile.settings.objective import (
    Activation,
    LossSettings,
    OptimiserSettings,
    PixelWeightSettings,
)
from overtile.settings.patchnet import PatchNetSettings
from overtile.settings.reading import (
    Frozen,
    dotted_names,
    from_dict,
    from_yaml,
    mapping_of,
    to_explained_yaml,
    to_yaml,
)
from overtile.settings.run import Layout, Precision, Settings
from overtile.settings.table import NETWORK_SETTINGS
from overtile.settings.ternausnet import TernausNetSettings
from overtile.settings.unet import UNet3DSettings, UNetSettings
from overtile.settings.unetpp import UNetPlusPlusSettings
from overtile.settings.window import WindowSettings

__all__ = [
    "NETWORK_SETTINGS",
    "Activation",
    "AugmentSettings",
    "ConvolutionSettings",
    "Deformation",
    "EncoderUNetSettings",
    "FCNSettings",
    "Frozen",
    "LabelKind",
    "LabelSettings",
    "Layout",
    "LossSettings",
    "NamedClass",
    "NetworkSettings",
    "NormalisationSettings",
    "OptimiserSettings",
    "Padding",
    "PatchNetSettings",
    "PixelWeightSettings",
    "Precision",
    "PretrainedSettings",
    "Settings",
    "TernausNetSettings",
    "UNet3DSettings",
    "UNetPlusPlusSettings",
    "UNetSettings",
    "WindowSettings",
    "dotted_names",
    "from_dict",
    "from_yaml",
    "mapping_of",
    "to_explained_yaml",
    "to_yaml",
]
