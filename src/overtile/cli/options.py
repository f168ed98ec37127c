"""Arguments and options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LabelsAre(StrEnum):
    """What label values are."""

    auto = "auto"
    classes = "classes"
    instances = "instances"
    multilabel = "multilabel"
    scribbles = "scribbles"


class Preset(StrEnum):
    """The recipes of training."""

    default = "default"
    paper = "paper"


class Engine(StrEnum):
    """What can compute a network."""

    torch = "torch"
    openvino = "openvino"
    onnx = "onnx"


class Activity(StrEnum):
    """Numbers of the forward pass."""

    float32 = "float32"
    bfloat16 = "bfloat16"


Images = Annotated[Path, typer.Argument(help="A folder, or a file, which may be a stack.")]
DataSet = Annotated[
    Path, typer.Argument(help="A data set, a CSV of pairs, or a folder or file of images.")
]
Labels = Annotated[
    Path | None, typer.Argument(help="A folder or file of labels, where images were given.")
]
LayoutName = Annotated[
    str | None,
    typer.Option("--layout", help="Of the data set, such as voc or ctc-gold; else recognised."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]
Meaning = Annotated[
    LabelsAre, typer.Option("--labels-are", help="What label values are; auto tells by them.")
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(help="Label values or colours that are not labelled: 11,#9B9B9B."),
]
Colours = Annotated[
    Path | None,
    typer.Option(
        help="A file that names label values or colours, a line each: road,#6EC1E4 or 2,road."
    ),
]
Repair = Annotated[
    bool,
    typer.Option("--repair", help="Take stray label values, as of JPEG, for the nearest class."),
]
ModelFolder = Annotated[Path, typer.Argument(help="A folder that 'overtile train' wrote.")]
Precision = Annotated[
    Activity | None,
    typer.Option(help="By default bfloat16 where the processor has it and the classes stay."),
]
EngineName = Annotated[
    Engine | None, typer.Option(help="By default the fastest measured that the model is ready for.")
]


Prune = Annotated[
    int | None,
    typer.Option(help="For a UNet++: the level to prune it to; 1 is the smallest and fastest."),
]
