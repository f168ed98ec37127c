"""The command `overtile predict`; it imports what it needs when it is called."""

from __future__ import annotations

from overtile.cli import options as given


def predict(
    model: given.ModelFolder,
    images: given.Images,
    output: given.Output,
    probabilities: given.Probabilities = False,
    objects: given.Objects = False,
    overlay: given.Overlay = None,
    seeds: given.Seeds = None,
    measurements: given.Measurements = False,
    suffix: given.Suffix = None,
    memory: given.Memory = None,
    tile: given.Tile = None,
    explain: given.Explain = False,
    turns: given.Turns = None,
    prune: given.Prune = None,
    engine: given.EngineName = None,
    precision: given.Precision = None,
    threads: given.Threads = None,
    inexact: given.Inexact = False,
    overviews: given.Overviews = False,
    workers: given.Workers = None,
    cluster: given.Cluster = None,
    resume: given.ResumePrediction = False,
    overwrite: given.Overwrite = False,
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
        turns=turns,
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
