"""Arguments and options of the commands: first what several of them have, then those of one."""

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
Turns = Annotated[
    bool | None,
    typer.Option(
        "--turns/--no-turns",
        help="Average over all flips and quarter turns: 8 times the work, 16 times for volumes. "
        "By default as the model's settings say.",
    ),
]

# Of `check`.
Volumes = Annotated[
    bool | None,
    typer.Option(
        "--volumes/--planes",
        help="Whether a stack is one volume or a series of planes; by default as its format "
        "and the data set have it.",
    ),
]
Page = Annotated[Path | None, typer.Option(help="Write one HTML page with pictures to this file.")]

# Of `train`.
Holdout = Annotated[
    str | None,
    typer.Option(
        help="Images left out and never read: 24:30, 0,10, 20%, names of images or of groups; "
        "by default those that the data set keeps for validation and test."
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(help="From start to saved model; by default 15, or the steps of --settings."),
]
Recipe = Annotated[Preset, typer.Option(help="The recipe.")]
NetworkName = Annotated[
    str | None,
    typer.Option(help="One of 'overtile networks'; by default unet, or unet3d for volumes."),
]
EncoderWeights = Annotated[
    str | None,
    typer.Option(
        help="Where the network has an encoder: pretrained (the default), none, or a file."
    ),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        help="A settings.yaml, as 'overtile plan' writes it; what it leaves out is chosen."
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change a setting of these by its name, such as optimiser.learning_rate=0.001; "
        "network.dimensions=3 trains on volumes.",
    ),
]
PixelSize = Annotated[
    str | None,
    typer.Option(
        help="Bring all images to pixels of this size, in the unit that they state: 0.5, "
        "3,1,1 (z,y,x), or common."
    ),
]
Start = Annotated[
    Path | None,
    typer.Option(
        "--from", help="An earlier model whose network, as far as it fits, to start from."
    ),
]
Devices = Annotated[
    int, typer.Option(min=1, help="Processes on each machine, one for each GPU if there are any.")
]
Nodes = Annotated[int, typer.Option(min=1, help="Machines; torchrun or SLURM starts them.")]
LoggerNames = Annotated[
    list[str] | None,
    typer.Option("--logger", help="Follow the training with tensorboard, mlflow or wandb."),
]
ResumeTraining = Annotated[bool, typer.Option("--resume", help="Go on with a run that was killed.")]
Fold = Annotated[
    str | None,
    typer.Option(
        help="Cross-validation: the number of a fold to hold out, from 1; or all, to train a model "
        "for each in its share of the minutes and score it there."
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(help="For --fold: into how many the images are parted, in whole groups; 5."),
]
Ensemble = Annotated[
    int | None,
    typer.Option(
        help="So many models, which share the minutes, as one that averages them: with one seed "
        "after the other, or with --fold all those of the folds."
    ),
]

# Of `tune`.
TuneMinutes = Annotated[float, typer.Option(help="For all trials together, also earlier ones.")]
TrialMinutes = Annotated[
    float | None,
    typer.Option(help="Of training in a trial; by default for 20 trials, or as many as asked for."),
]
Trials = Annotated[
    int | None, typer.Option(help="At most so many; by default as there is time for.")
]
TuneFolds = Annotated[
    int | None, typer.Option(help="Of the training part, by which settings are compared; 3.")
]

# Of `predict`.
Output = Annotated[
    Path, typer.Option("--output", "-o", help="A file, or a folder where IMAGES is one.")
]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Write probabilities, float32 (class, y, x).")
]
Objects = Annotated[bool, typer.Option("--objects", help="Write an id for every object.")]
Overlay = Annotated[
    Path | None, typer.Option(help="A folder for pictures of the outlines on the images.")
]
Seeds = Annotated[
    float | None,
    typer.Option(help="For objects: part touching ones, from seeds above this probability."),
]
Measurements = Annotated[
    bool,
    typer.Option("--measurements", help="For objects: sizes, places and intensities in NAME.csv."),
]
Suffix = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Of the outputs where IMAGES is a folder: tif (the default), png, npy, zarr, or "
        "as shapes geojson, gpkg, zip (ImageJ ROIs).",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(help="Such as 2GiB, above the loaded process; by default half of what is free."),
]
Tile = Annotated[
    int | None, typer.Option(help="Largest side of a tile in px; by default what is fastest.")
]
Explain = Annotated[bool, typer.Option("--explain", help="Print the plan and its reasons first.")]
Threads = Annotated[int | None, typer.Option(min=1, help="By default all cores.")]
Inexact = Annotated[
    bool,
    typer.Option("--inexact", help="Blend the tiles of a network that depends on them."),
]
Overviews = Annotated[
    bool, typer.Option("--overviews", help="Add smaller copies to a TIFF, for viewers.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Compute in so many processes, with Dask.")
]
Cluster = Annotated[str | None, typer.Option(help="Compute on a Dask cluster: tcp://host:8786.")]
ResumePrediction = Annotated[
    bool, typer.Option("--resume", help="Go on with a prediction that was killed.")
]

# Of `evaluate`.
Only = Annotated[
    str | None,
    typer.Option(
        help="Which images, as in --holdout of training; by default those that it held out, "
        "or that the data set keeps for validation and test, or all."
    ),
]
ScoresCsv = Annotated[
    Path | None,
    typer.Option("--csv", help="Write every score of every image: image,class,score,value."),
]
ScoresJson = Annotated[
    Path | None,
    typer.Option("--json", help="Write all scores with intervals and definitions."),
]
AllScores = Annotated[
    bool, typer.Option("--all-scores", help="Also those that take long: the warping error.")
]
