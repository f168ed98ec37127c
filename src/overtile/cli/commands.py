"""The commands, in the order in which a newcomer meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overtile.cli.options import (
    Colours,
    DataSet,
    Engine,
    EngineName,
    Ignore,
    Images,
    Labels,
    LabelsAre,
    LayoutName,
    Meaning,
    ModelFolder,
    Overwrite,
    Precision,
    Preset,
    Prune,
    Repair,
)

app = typer.Typer(
    help="Segments images pixel by pixel with U-Nets. "
    "An error is one paragraph and exit code 2; --debug shows its traceback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
def check(
    images: DataSet,
    labels: Labels = None,
    labels_are: Meaning = LabelsAre.auto,
    ignore: Ignore = None,
    colours: Colours = None,
    repair: Repair = False,
    volumes: Annotated[
        bool | None,
        typer.Option(
            "--volumes/--planes",
            help="Whether a stack is one volume or a series of planes; by default as its format "
            "and the data set have it.",
        ),
    ] = None,
    layout: LayoutName = None,
    holdout: Annotated[
        str | None, typer.Option(help="As for 'train': copies on both sides of it are found.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write one HTML page with pictures to this file.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Look at images and labels before any training, and say what is wrong and what to do."""
    from overtile import layouts
    from overtile.cli.changing import change, label_changes
    from overtile.cli.checking import print_examination
    from overtile.io import check_free
    from overtile.settings import Settings

    pairs = layouts.pairs(images, labels, None if volumes is None else 3 if volumes else 2, layout)
    if report is not None:
        check_free(report, overwrite)
    says = label_changes(labels_are.value, ignore, colours, repair=repair)
    chosen = change(Settings(), says).labels
    pairs = layouts.drawn_as(pairs, chosen.kind)
    if not print_examination(pairs, chosen, holdout, report, overwrite=overwrite):
        raise typer.Exit(2)


@app.command()
def train(
    images: DataSet,
    output: Annotated[Path, typer.Option("--output", "-o", help="The model's folder.")],
    labels: Labels = None,
    holdout: Annotated[
        str | None,
        typer.Option(
            help="Images left out and never read: 24:30, 0,10, 20%, names of images or of groups; "
            "by default those that the data set keeps for validation and test."
        ),
    ] = None,
    layout: LayoutName = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time from start to saved model; 15 by default.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of minutes.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Instead of minutes.")] = None,
    preset: Annotated[Preset, typer.Option(help="The recipe.")] = Preset.default,
    network: Annotated[
        str | None,
        typer.Option(help="One of 'overtile networks'; by default unet, or unet3d for volumes."),
    ] = None,
    encoder_weights: Annotated[
        str | None,
        typer.Option(
            help="Where the network has an encoder: pretrained (the default), none, or a file."
        ),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="A settings.yaml, instead of a preset.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a setting of these by its name, such as optimiser.learning_rate=0.001; "
            "network.dimensions=3 trains on volumes.",
        ),
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option(
            help="Bring all images to pixels of this size, in the unit that they state: 0.5, "
            "3,1,1 (z,y,x), or common."
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from", help="An earlier model whose network, as far as it fits, to start from."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    labels_are: Meaning = LabelsAre.auto,
    ignore: Ignore = None,
    colours: Colours = None,
    repair: Repair = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was killed.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train on images and labels, for as long as you give it."""
    from overtile.cli.changing import label_changes
    from overtile.cli.training import Choice, find_and_choose, run_training

    changes = [*(setting or []), *([] if seed is None else [f"seed={seed}"])]
    if spacing is not None:
        changes.append(f"spacing={f'[{spacing}]' if ',' in spacing else spacing}")
    changes += label_changes(labels_are.value, ignore, colours, repair=repair)
    choice = Choice(
        preset.value,
        settings,
        network,
        start,
        tuple(changes),
        encoder_weights,
        resumed=output if resume else None,
    )
    pairs, chosen = find_and_choose(images, labels, layout, choice)
    run_training(
        pairs,
        output,
        chosen,
        start=start,
        minutes=minutes,
        steps=steps,
        epochs=epochs,
        holdout=holdout,
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
    seeds: Annotated[
        float | None,
        typer.Option(help="For objects: part touching ones, from seeds above this probability."),
    ] = None,
    measurements: Annotated[
        bool,
        typer.Option(
            "--measurements", help="For objects: sizes, places and intensities in NAME.csv."
        ),
    ] = False,
    suffix: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Of the outputs where IMAGES is a folder: tif (the default), png, npy, zarr, or "
            "as shapes geojson, gpkg, zip (ImageJ ROIs).",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Such as 2GiB, above the loaded process; by default half of what is free."
        ),
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="Largest side of a tile in px; by default what is fastest.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print the plan and its reasons first.")
    ] = False,
    prune: Prune = None,
    engine: EngineName = None,
    precision: Precision = None,
    threads: Annotated[int | None, typer.Option(min=1, help="By default all cores.")] = None,
    inexact: Annotated[
        bool,
        typer.Option("--inexact", help="Blend the tiles of a network that depends on them."),
    ] = False,
    overviews: Annotated[
        bool, typer.Option("--overviews", help="Add smaller copies to a TIFF, for viewers.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Compute in so many processes, with Dask.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Compute on a Dask cluster: tcp://host:8786.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a prediction that was killed.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Predict images of any size; by default the class id of every pixel."""
    from overtile.cli.predicting import load_for, parse_memory, run_prediction
    from overtile.errors import SettingsError
    from overtile.file_to_file import Content, PredictOptions

    if probabilities and objects:
        raise SettingsError("Give --probabilities or --objects, not both: -o names one output.")
    if measurements and not objects:
        raise SettingsError("--measurements are those of objects: give --objects as well.")
    content: Content = "probabilities" if probabilities else "objects" if objects else "classes"
    options = PredictOptions(
        content=content,
        memory=parse_memory(memory),
        tile_px=tile,
        seed_threshold=seeds,
        overviews=overviews,
        overwrite=overwrite,
        resume=resume,
        workers=workers,
        cluster=cluster,
    )
    segmenter = load_for(
        model,
        images,
        output,
        options,
        engine.value if engine else None,
        precision.value if precision else None,
        threads,
        suffix=suffix,
        inexact=inexact,
        prune=prune,
    )
    run_prediction(
        segmenter,
        images,
        output,
        options,
        overlay,
        suffix=suffix,
        measurements=measurements,
        explain=explain,
    )


@app.command()
def convert(
    model: ModelFolder,
    engine: Annotated[Engine, typer.Option(help="openvino or onnx.")],
    prune: Prune = None,
    overwrite: Overwrite = False,
) -> None:
    """Keep the network in the form of another library, for faster or smaller installations."""
    from overtile import model as storage
    from overtile.cli.show import say
    from overtile.engines.choice import convert as convert_model
    from overtile.engines.choice import home
    from overtile.pruning import prune as pruned

    chosen = pruned(storage.load(model), prune)
    choice = convert_model(chosen, model, engine.value, overwrite=overwrite)
    place = home(model, engine.value, chosen.pruned)
    say(f"{place} gives the stored test result. {choice.reasons[-1]}")


@app.command()
def evaluate(
    model: ModelFolder,
    images: DataSet,
    labels: Labels = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="Which images, as in --holdout of training; by default those that it held out, "
            "or that the data set keeps for validation and test, or all."
        ),
    ] = None,
    layout: LayoutName = None,
    report: Annotated[Path | None, typer.Option(help="Write one HTML page to this file.")] = None,
    prune: Prune = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare predictions with labels, by standard metrics."""
    from overtile.cli.evaluating import run_evaluation
    from overtile.io import check_free
    from overtile.jobs import find_pairs
    from overtile.layouts import scored
    from overtile.segmenter import load

    if report is not None:
        check_free(report, overwrite)
    segmenter = load(
        model, precision=precision.value if precision else "auto", inexact=True, prune=prune
    )
    dimensions = segmenter.model.settings.network.dimensions
    found = find_pairs(images, labels, layout, dimensions)
    pairs = scored(found, only, segmenter.model.origin.held_out)
    run_evaluation(segmenter, pairs, report, overwrite=overwrite)


@app.command()
def inspect(
    model: ModelFolder,
    image: Annotated[
        Path | None, typer.Option(help="Measure on this image how far two tilings differ.")
    ] = None,
    prune: Prune = None,
    precision: Precision = None,
) -> None:
    """Show what a model's network sees, whether its tiles are exact, and what tiles cost."""
    from overtile.cli.inspecting import print_inspection

    print_inspection(model, image, precision.value if precision else "auto", prune)


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
    size: Annotated[
        str | None,
        typer.Option(help="Of the input in px: 572, or 116x132x132; else one that fits."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the network, such as norm=batch or depth=3."),
    ] = None,
) -> None:
    """Show a network's layers: output shape, parameters, and what each is connected to."""
    from overtile.cli.summarising import print_summary

    print_summary(name, size, setting or [])
