"""The commands, in the order in which a newcomer meets them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Segments images pixel by pixel with U-Nets. "
    "An error is one paragraph and exit code 2; --debug shows its traceback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class LabelsAre(StrEnum):
    """What label values are."""

    auto = "auto"
    classes = "classes"
    instances = "instances"


class Preset(StrEnum):
    """The recipes of training."""

    default = "default"
    paper = "paper"


class Activity(StrEnum):
    """Numbers of the forward pass."""

    float32 = "float32"
    bfloat16 = "bfloat16"


Images = Annotated[Path, typer.Argument(help="A folder, or a file, which may be a stack.")]
Labels = Annotated[Path, typer.Argument(help="The same, with labels.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]
Meaning = Annotated[
    LabelsAre, typer.Option("--labels-are", help="What label values are; auto tells by them.")
]
ModelFolder = Annotated[Path, typer.Argument(help="A folder that 'overtile train' wrote.")]
Tile = Annotated[int, typer.Option(help="Largest side of a tile in px; less needs less memory.")]
Precision = Annotated[
    Activity | None, typer.Option(help="By default bfloat16 where the processor has it.")
]


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Gets images/ and labels/.")],
    count: Annotated[int, typer.Option(min=1, help="Number of images.")] = 12,
    size: Annotated[int, typer.Option(min=64, help="Side of an image in px.")] = 256,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Draw synthetic micrographs of touching cells, with instance labels, to try things on."""
    from overtile.cli.show import say
    from overtile.sample import write_sample

    write_sample(folder, count=count, size=(size, size), seed=seed, overwrite=overwrite)
    say(f"{count} images of {size} x {size} px in {folder / 'images'}, labels in its sibling.")


@app.command()
def check(images: Images, labels: Labels, labels_are: Meaning = LabelsAre.auto) -> None:
    """Look at images and labels before any training, and say what is wrong and what to do."""
    from overtile import layouts
    from overtile.cli.checking import print_examination

    if not print_examination(layouts.pairs(images, labels), labels_are.value):
        raise typer.Exit(2)


@app.command()
def train(
    images: Images,
    labels: Labels,
    output: Annotated[Path, typer.Option("--output", "-o", help="The model's folder.")],
    holdout: Annotated[
        str | None, typer.Option(help="Images left out and never read: 24:30, 0,10, names.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time from start to saved model; 15 by default.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of minutes.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Instead of minutes.")] = None,
    preset: Annotated[Preset, typer.Option(help="The recipe.")] = Preset.default,
    settings: Annotated[
        Path | None, typer.Option(help="A settings.yaml, instead of a preset.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    labels_are: Meaning = LabelsAre.auto,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was killed.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train on images and labels, for as long as you give it."""
    from overtile.cli.training import run_training

    run_training(
        images,
        labels,
        output,
        preset.value,
        settings,
        seed,
        minutes=minutes,
        steps=steps,
        epochs=epochs,
        holdout=holdout,
        labels_are=labels_are.value,
        resume=resume,
        overwrite=overwrite,
    )


@app.command()
def predict(
    model: ModelFolder,
    images: Images,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file, or a folder where IMAGES is one.")
    ],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write probabilities, float32 (class, y, x).")
    ] = False,
    objects: Annotated[
        bool, typer.Option("--objects", help="Write an id for every object.")
    ] = False,
    overlay: Annotated[
        Path | None, typer.Option(help="A folder for pictures of the outlines on the images.")
    ] = None,
    tile: Tile = 1024,
    precision: Precision = None,
    overwrite: Overwrite = False,
) -> None:
    """Predict images of any size; by default the class id of every pixel."""
    from overtile.cli.predicting import What, run_prediction
    from overtile.errors import SettingsError
    from overtile.segmenter import load

    if probabilities and objects:
        raise SettingsError("Give --probabilities or --objects, not both: -o names one output.")
    what: What = "probabilities" if probabilities else "objects" if objects else "classes"
    segmenter = load(model, precision=precision.value if precision else None)
    run_prediction(segmenter, images, output, what, overlay, tile_px=tile, overwrite=overwrite)


@app.command()
def evaluate(
    model: ModelFolder,
    images: Images,
    labels: Labels,
    only: Annotated[str | None, typer.Option(help="Which images: 24:30, 0,10, names.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write one HTML page to this file.")] = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare predictions with labels, by standard metrics."""
    from overtile.cli.evaluating import run_evaluation
    from overtile.io import check_free
    from overtile.segmenter import load

    if report is not None:
        check_free(report, overwrite)
    segmenter = load(model, precision=precision.value if precision else None)
    run_evaluation(segmenter, images, labels, only, report, overwrite=overwrite)


@app.command()
def networks() -> None:
    """List the networks there are."""
    from overtile.cli.show import print_table
    from overtile.networks import NETWORKS

    rows = [[name, (kind.__doc__ or "").splitlines()[0]] for name, kind in NETWORKS.items()]
    print_table("Networks", ["name", "what it is"], rows, text=2)


@app.command()
def summary(
    name: Annotated[str, typer.Argument(help="One of 'overtile networks'.")],
    size: Annotated[int, typer.Option(min=1, help="Side of the input in px.")] = 572,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the network, such as norm=batch or depth=3."),
    ] = None,
) -> None:
    """Show a network's layers: output shape, parameters, and what each is connected to."""
    from overtile.cli.summarising import print_summary

    print_summary(name, size, setting or [])
