"""What `overtile evaluate` prints and reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from overtile import report
from overtile.cli.describing import describe_classes, describe_disparity, describe_objective
from overtile.cli.scores import class_tables, print_scores
from overtile.cli.show import note, say
from overtile.dataset import digest
from overtile.errors import SettingsError
from overtile.evaluation import DEFINITIONS, Evaluation, known_truth, write_csv, write_json
from overtile.io import check_free
from overtile.jobs import evaluate_with
from overtile.layouts import Pairs, bring_to
from overtile.report import Example, ReportContent, number, write_report
from overtile.segmenter import Segmenter
from overtile.settings import to_explained_yaml
from overtile.text import shown

EXAMPLES_SHOWN = 12


@dataclass(frozen=True)
class Outputs:
    """What is written of an evaluation, checked before anything takes long.

    Attributes
    ----------
    report, csv, json
        Files, or None.
    overwrite
        Whether files of these names may be replaced.

    Raises
    ------
    OutputError
        A file exists, and may not be replaced.
    SettingsError
        Two of them are the same file.
    """

    report: Path | None
    csv: Path | None
    json: Path | None
    overwrite: bool

    def __post_init__(self) -> None:
        paths = [path for path in (self.report, self.csv, self.json) if path is not None]
        for path in paths:
            check_free(path, self.overwrite)
        if len({path.resolve() for path in paths}) < len(paths):
            raise SettingsError(
                f"{', '.join(map(str, paths))}: two of these are the same file, and one would "
                "replace the other. Give each a name of its own."
            )


def run_evaluation(
    folder: Path, segmenter: Segmenter, pairs: Pairs, outputs: Outputs, *, all_scores: bool
) -> None:
    """Evaluate, print tables of scores, and write what is asked for."""
    evaluation = evaluate_with(segmenter, pairs, all_scores=all_scores)
    notes = [*_unseen(segmenter, evaluation), *notes_on(segmenter, pairs)]
    if all_scores and "warping error" not in evaluation.names:
        notes.append(
            "--all-scores adds nothing here: the warping error is of planes with one class beside "
            "the background."
        )
    for sentence in notes:
        note(sentence)
    print_scores(evaluation)
    if outputs.csv is not None:
        write_csv(outputs.csv, evaluation, overwrite=outputs.overwrite)
        say(f"Scores: {outputs.csv.resolve()}")
    if outputs.json is not None:
        about = {"model": about_model(folder, segmenter), "data": about_data(pairs), "notes": notes}
        write_json(outputs.json, evaluation, about, overwrite=outputs.overwrite)
        say(f"Scores: {outputs.json.resolve()}")
    if outputs.report is not None:
        content = _content(segmenter, pairs, evaluation, notes)
        write_report(outputs.report, content, overwrite=outputs.overwrite)
        say(f"Report: {outputs.report.resolve()}")


def about_model(folder: Path, segmenter: Segmenter) -> dict[str, Any]:
    """What identifies a model."""
    model = segmenter.model
    return {
        "folder": str(folder),
        "network": model.settings.network.name,
        "pruned_to": model.pruned,
        "precision": segmenter.predictor.tiler.engine.precision,
        "steps": model.origin.steps,
        "seconds": model.origin.seconds,
        "trained_on": list(model.origin.images),
        "held_out": list(model.origin.held_out),
        "versions": model.origin.versions,
    }


def about_data(pairs: Pairs) -> dict[str, Any]:
    """What was scored."""
    images = [{"image": pair.name, "from": pair.image.origin} for pair in pairs]
    return {"recognised": pairs.how, "layout": pairs.layout, "images": images}


def _unseen(segmenter: Segmenter, evaluation: Evaluation) -> list[str]:
    """That labels hold classes which the model was never shown."""
    names = evaluation.meaning.names[len(segmenter.meaning.names) :]
    if not names:
        return []
    return [
        f"Training saw no label with {shown(names)}: the model cannot predict "
        f"{'it' if len(names) == 1 else 'them'}, and every such pixel counts as wrong."
    ]


def notes_on(segmenter: Segmenter, pairs: Pairs) -> list[str]:
    """That images were seen in training."""
    trained, size = set(segmenter.model.origin.images.values()), segmenter.model.pixel_size
    read = pairs if size is None else bring_to(pairs, size)  # as training read them
    seen = [pair.name for pair in read if digest(pair.image.read()) in trained]
    if not seen:
        return []
    return [
        f"{len(seen)} of {len(pairs)} images were seen in training ({', '.join(seen[:3])}"
        f"{', ...' if len(seen) > 3 else ''}): their scores say little about new images."
    ]


def _content(
    segmenter: Segmenter, pairs: Pairs, evaluation: Evaluation, notes: list[str]
) -> ReportContent:
    model = segmenter.model
    origin, chosen = model.origin, model.settings
    names = [name for name, (_, of) in evaluation.names.items() if not of]
    used = {score for score, _ in evaluation.names.values()}
    networks = model.members or (model,)
    parameters = [value for one in networks for value in one.parameters.values()]
    pruned = "" if model.pruned is None else f", pruned to level {model.pruned}"
    together = f"; {len(networks)} of them, averaged" if model.members else ""
    turns = segmenter.predictor.engine.turns
    together += f"; {turns} flips and turns averaged" if turns > 1 else ""
    facts = [
        ("Network", f"{chosen.network.name}, {chosen.network.padding} padding{pruned}{together}"),
        ("Parameters", f"{sum(value.size for value in parameters):,}"),
        ("Classes", describe_classes(model)),
        ("Labels in training", model.classes.reason),
        ("Objective", describe_objective(model)),
        ("Intensities", model.normalisation.reason),
        ("Trained on", f"{len(origin.images)} images; {len(origin.held_out)} held out"),
        ("Training", f"{origin.steps} steps in {origin.seconds:.0f} s"),
        *([("Norms", describe_disparity(origin.disparity))] if origin.disparity else []),
        ("Machine", origin.processor),
        ("Seed", str(chosen.seed)),
        ("Versions", ", ".join(f"{name} {release}" for name, release in origin.versions.items())),
    ]
    if model.fingerprint is not None:
        facts += [
            (f"Training data: {what}", value)
            for what, value in model.fingerprint.rows()
            if what != "normalisation"  # which stands above
        ]
    if evaluation.best_threshold is not None:
        facts.append(("Best threshold of V_rand", f"{evaluation.best_threshold:.1f}"))
    facts.append(("Unit of distances", evaluation.unit))
    return ReportContent(
        title="Overtile report",
        facts=facts,
        notes=[*notes, *origin.notes],
        columns=names,
        rows=[(row.name, [row.scores[name] for name in names]) for row in evaluation.rows],
        pooled=evaluation.pooled,
        legend=segmenter.legend.pictured,
        settings_yaml=to_explained_yaml(chosen, model.reasons),
        history=model.history,
        examples=_examples(segmenter, pairs, evaluation),
        intervals=evaluation.intervals,
        pooled_intervals=evaluation.pooled_intervals,
        tables=class_tables(evaluation, intervals=True),
        reliability=evaluation.reliability,
        definitions=[(name, each.text) for name, each in DEFINITIONS.items() if name in used],
    )


def _examples(segmenter: Segmenter, pairs: Pairs, evaluation: Evaluation) -> list[report.Example]:
    """The images to show: all, or where there are many, evenly spread from worst to best.

    Of a volume it is the plane in its middle.
    """
    order = sorted(
        range(len(pairs)), key=lambda place: -evaluation.rows[place].scores["pixel error"]
    )
    if len(order) > EXAMPLES_SHOWN:
        places = np.linspace(0, len(order) - 1, EXAMPLES_SHOWN).round().astype(int)
        order = [order[place] for place in places]
    return [_example(segmenter, pairs, evaluation, place) for place in order]


def _example(segmenter: Segmenter, pairs: Pairs, evaluation: Evaluation, place: int) -> Example:
    pair, row = pairs[place], evaluation.rows[place]
    assert pair.label is not None
    whole, label = pair.image.read_image(), pair.read_label()
    image = np.asarray(whole.data)
    likely = segmenter.probabilities(whole)
    meaning, overlap = evaluation.meaning, segmenter.model.classes.overlap
    known, objects = known_truth(meaning, image, label)
    truth, found = (
        meaning.legend.pictured_ids(ids, overlap=overlap)
        for ids in (
            known,
            (likely > 0.5).astype(np.int16) if overlap else likely.argmax(axis=0),
        )
    )
    instances = meaning.kind == "instances"
    caption = f"pixel error {number(row.scores['pixel error'])}"
    part: Any = ...
    if truth.ndim == 3:
        middle = len(truth) // 2
        part = (..., middle, slice(None), slice(None))
        caption += f"; the plane z {middle} of 0 to {len(truth) - 1}"
    return Example(
        name=pair.name,
        caption=caption,
        image=image[part],
        truth=truth[part],
        prediction=found[part],
        truth_objects=(objects if instances else truth)[part],
        predicted_objects=(segmenter.find_objects(likely, whole) if instances else found)[part],
    )
