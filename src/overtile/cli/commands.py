"""The commands, in the order in which a newcomer meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overtile.cli import options as given
from overtile.cli.plancommand import plan
from overtile.cli.predictcommand import predict
from overtile.cli.traincommand import train
from overtile.cli.tuning import tune

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
    overwrite: given.Overwrite = False,
) -> None:
    """Draw synthetic micrographs of touching cells, with instance labels, to try things on."""
    from overtile.cli.show import say
    from overtile.sample import write_sample

    write_sample(folder, count=count, size=(size, size), seed=seed, overwrite=overwrite)
    say(f"{count} images of {size} x {size} px in {folder / 'images'}, labels in its sibling.")


@app.command()
def check(
    images: given.DataSet,
    labels: given.Labels = None,
    labels_are: given.Meaning = given.LabelsAre.auto,
    ignore: given.Ignore = None,
    colours: given.Colours = None,
    repair: given.Repair = False,
    volumes: given.Volumes = None,
    layout: given.LayoutName = None,
    holdout: Annotated[
        str | None, typer.Option(help="As for 'train': copies on both sides of it are found.")
    ] = None,
    report: given.Page = None,
    overwrite: given.Overwrite = False,
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


app.command()(plan)
app.command()(train)
app.command()(tune)
app.command()(predict)


@app.command()
def convert(
    model: given.ModelFolder,
    engine: Annotated[given.Engine, typer.Option(help="openvino or onnx.")],
    prune: given.Prune = None,
    overwrite: given.Overwrite = False,
) -> None:
    """Keep the network in the form of another library, for faster or smaller installations."""
    from overtile import model as storage
    from overtile.cli.show import say
    from overtile.engines.assembly import convert_all
    from overtile.pruning import prune as pruned

    chosen = pruned(storage.load(model), prune)
    for place, choice in convert_all(chosen, model, engine.value, overwrite=overwrite):
        say(f"{place} gives the stored test result. {choice.reasons[-1]}")


@app.command()
def ensemble(
    models: Annotated[list[Path], typer.Argument(help="Folders that 'overtile train' wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The ensemble's folder.")],
    overwrite: given.Overwrite = False,
) -> None:
    """Make one model of several, which averages their probabilities."""
    from overtile.cli.show import say
    from overtile.model.ensemble import ensemble_of

    made = ensemble_of(models, output, overwrite=overwrite)
    say(
        f"{output} averages {len(made.members)} models. 'overtile convert' has to be run on it "
        "anew, where they were converted."
    )


@app.command()
def evaluate(
    model: given.ModelFolder,
    images: given.DataSet,
    labels: given.Labels = None,
    only: given.Only = None,
    layout: given.LayoutName = None,
    report: Annotated[Path | None, typer.Option(help="Write one HTML page to this file.")] = None,
    all_scores: given.AllScores = False,
    csv: given.ScoresCsv = None,
    json: given.ScoresJson = None,
    turns: given.Turns = None,
    prune: given.Prune = None,
    precision: given.Precision = None,
    overwrite: given.Overwrite = False,
) -> None:
    """Compare predictions with labels, by standard metrics."""
    from overtile.cli.evaluating import Outputs, run_evaluation
    from overtile.jobs import find_pairs
    from overtile.layouts import scored
    from overtile.segmenter import load

    outputs = Outputs(report, csv, json, overwrite)
    segmenter = load(
        model,
        precision=precision.value if precision else "auto",
        inexact=True,
        prune=prune,
        turns=turns,
    )
    dimensions = segmenter.model.settings.network.dimensions
    found = find_pairs(images, labels, layout, dimensions)
    pairs = scored(found, only, segmenter.model.origin.held_out)
    run_evaluation(model, segmenter, pairs, outputs, all_scores=all_scores)


@app.command()
def compare(
    first: given.ModelFolder,
    second: Annotated[Path, typer.Argument(help="Another, of the same classes.")],
    images: given.DataSet,
    labels: given.Labels = None,
    only: given.Only = None,
    layout: given.LayoutName = None,
    csv: given.ScoresCsv = None,
    json: given.ScoresJson = None,
    precision: given.Precision = None,
    overwrite: given.Overwrite = False,
) -> None:
    """Put two models side by side on the same images, and say how sure the difference is."""
    from overtile.cli.comparing import run_comparison
    from overtile.cli.evaluating import Outputs
    from overtile.jobs import pairs_to_compare
    from overtile.segmenter import load

    outputs = Outputs(None, csv, json, overwrite)
    one, other = (
        load(folder, precision=precision.value if precision else "auto", inexact=True)
        for folder in (first, second)
    )
    pairs = pairs_to_compare(one, other, images, labels, layout=layout, only=only)
    run_comparison((first, one), (second, other), pairs, outputs)


@app.command()
def inspect(
    model: given.ModelFolder,
    image: Annotated[
        Path | None, typer.Option(help="Measure on this image how far two tilings differ.")
    ] = None,
    prune: given.Prune = None,
    precision: given.Precision = None,
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
