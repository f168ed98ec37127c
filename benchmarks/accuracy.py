"""What is learnt in a quarter of an hour: Overtile beside other programs, on held-out real images.

    python benchmarks/accuracy.py isbi dsb --minutes 15 --seeds 0 1 2
    .venv-bench/bin/python benchmarks/accuracy.py isbi --program tutorial smp nnunet
    python benchmarks/accuracy.py dubai --inside --minutes 4 --set network.depth=4
    python benchmarks/accuracy.py dsb --inside --minutes 12 --ensemble 3 --models models/

Splits are those of ``../shared/data/README.md``. Every program gets the same images, the same time
(from its start to its trained network, on the same cores), and its own defaults; all predictions
are scored by `overtile.evaluation`. A row is printed, and added to the file of ``--rows``; the
models of Overtile, with their learning curves, are left in the folder of ``--models``. The members
of an ``--ensemble`` share the minutes.

With ``--inside``, some images of the training part are held out and scored instead: what Overtile
does by default is chosen so, with ``--set``, and never by the scores of what is held out.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import accuracy_peers as peers

import overtile
from overtile import layouts
from overtile.cli.changing import change
from overtile.evaluation import Evaluation, evaluate_pairs
from overtile.labels import told, understand
from overtile.layouts import Pairs
from overtile.presets import default_settings

DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Task:
    """A set of data with its split.

    Attributes
    ----------
    train
        The pairs that are trained on.
    inside
        Of the training part, what is scored while settings are chosen.
    scored
        The pairs that are scored together, by what they are called.
    """

    pairs: Pairs
    train: list[int]
    inside: list[int]
    scored: dict[str, list[int]]
    measures: tuple[str, ...]

    def within(self) -> Task:
        """The same without what is held out."""
        train = [place for place in self.train if place not in self.inside]
        return replace(self, train=train, scored={"inside": self.inside})


def isbi(training: list[int], inside: list[int]) -> Task:
    folder = DATA / "isbi2012"
    pairs = layouts.pairs(folder / "train-volume.tif", folder / "train-labels.tif")
    return Task(pairs, training, inside, {"": list(range(24, 30))}, ("V_rand", "pixel error"))


def hela() -> Task:
    """Gold labels of the frames that label every cell, and silver ones."""
    folder = DATA / "ctc" / "DIC-C2DH-HeLa"
    silver = sorted((folder / "01_ST" / "SEG").glob("man_seg*.tif"))
    complete = ("002", "005", "021", "031", "033", "054")
    gold = [folder / "01_GT" / "SEG" / f"man_seg{frame}.tif" for frame in complete]
    labels = [*silver, *gold]
    frames = [file.stem[-3:] for file in labels]
    pairs = layouts.pairs([folder / "01" / f"t{frame}.tif" for frame in frames], labels)
    early = [place for place, frame in enumerate(frames) if frame <= "048"]
    inside = [place for place in early if frames[place] >= "030"]
    late = [place for place, frame in enumerate(frames[: len(silver)]) if frame >= "056"]
    scored = {"gold t054": [frames.index("054")], "silver": late}
    return Task(pairs, early, inside, scored, ("SEG",))


def dsb() -> Task:
    pairs = layouts.pairs(DATA / "dsb2018")
    left = [_hash(name) % 15 for name in pairs.names]
    inside = [number in (1, 2, 3) for number in left]
    held = [number == 0 for number in left]
    return _parted(pairs, inside, held, ("AP at 0.5", "mean AP 0.5-0.9"))


def _hash(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def dubai() -> Task:
    pairs = layouts.pairs(DATA / "dubai")
    return _grouped(pairs, ("Tile 3",), ("Tile 4", "Tile 6"))


def camvid() -> Task:
    return _grouped(layouts.pairs(DATA / "camvid"), ("0001TP",), ("0006R0",))


def _grouped(pairs: Pairs, inside: tuple[str, ...], held: tuple[str, ...]) -> Task:
    groups = [pair.group for pair in pairs]
    parts = [[group in part for group in groups] for part in (inside, held)]
    return _parted(pairs, *parts, ("mean IoU",))


def hippocampus() -> Task:
    pairs = layouts.pairs(DATA / "msd" / "Task04_Hippocampus")
    inside = [38 <= n < 48 for n in range(len(pairs))]
    held = [n >= 48 for n in range(len(pairs))]
    return _parted(pairs, inside, held, ("Dice Anterior", "Dice Posterior"))


def _parted(pairs: Pairs, inside: list[bool], held: list[bool], measures: tuple[str, ...]) -> Task:
    places = range(len(pairs))
    train = [place for place in places if not held[place]]
    scored = [place for place in places if held[place]]
    return Task(pairs, train, [place for place in train if inside[place]], {"": scored}, measures)


TASKS: dict[str, Callable[[], Task]] = {
    "isbi": lambda: isbi(list(range(24)), list(range(18, 24))),
    "isbi-3": lambda: isbi([0, 10, 20], [3, 5, 7, 13, 15, 17, 22, 23]),
    "hela": hela,
    "dsb": dsb,
    "dubai": dubai,
    "camvid": camvid,
    "hippocampus": hippocampus,
}


def with_overtile(
    task: Task, minutes: float, changes: list[str], output: Path | None, members: int
) -> tuple[dict[str, Evaluation], str]:
    """Trained by its defaults, but for what is changed; several members average each other."""
    preset = default_settings("unet3d" if task.pairs.dimensions == 3 else "unet")
    train = partial(overtile.train_ensemble, members=members) if members > 1 else overtile.train
    with TemporaryDirectory() as scratch:
        model = train(
            task.pairs,
            holdout=[place for place in range(len(task.pairs)) if place not in task.train],
            minutes=minutes,
            settings=change(preset, changes),
            keep={name.partition("=")[0] for name in changes},
            output=output or Path(scratch) / "trained.model",
            overwrite=True,
            started=time.monotonic(),
        )
    found = {
        part: overtile.evaluate(model, task.pairs, only=places)
        for part, places in task.scored.items()
    }
    trained = model.model.members or (model.model,)
    steps = " + ".join(str(member.origin.steps) for member in trained)
    seconds = sum(member.origin.seconds for member in trained)
    return found, f"{model.model.settings.network.name}, {steps} steps in {seconds:.0f} s"


def with_peer(
    name: str, task: Task, minutes: float, seed: int
) -> tuple[dict[str, Evaluation], str]:
    """Trained by another program, its predictions scored as Overtile's are."""
    settings = default_settings()
    labels = [pair.read_label() for pair in task.pairs]
    meaning = understand(labels, settings.labels.kind, told(settings.labels, task.pairs.hints))
    trained = peers.train(name, task.pairs, task.train, meaning, minutes, seed)
    found = {}
    for part, places in task.scored.items():
        chosen = layouts.select(task.pairs, places)
        found[part] = evaluate_pairs(chosen, meaning, trained.predict, trained.find)
    return found, trained.what


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tasks", nargs="+", choices=TASKS)
    parser.add_argument(
        "--program", nargs="+", default=["overtile"], choices=["overtile", *peers.PEERS]
    )
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rows", type=Path, default=Path("accuracy.jsonl"))
    parser.add_argument("--models", type=Path)
    parser.add_argument("--ensemble", type=int, default=1, metavar="MEMBERS")
    parser.add_argument("--inside", action="store_true")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    for name, program, seed in itertools.product(given.tasks, given.program, given.seeds):
        task = TASKS[name]().within() if given.inside else TASKS[name]()
        began = time.monotonic()
        if program == "overtile":
            output = given.models and given.models / f"{name}-{seed}.model"
            changes = [f"seed={seed}", *given.set]
            found, what = with_overtile(task, given.minutes, changes, output, given.ensemble)
        else:
            found, what = with_peer(program, task, given.minutes, seed)
        row = {
            **{"task": name, "program": program, "seed": seed, "set": given.set},
            **({"members": given.ensemble} if given.ensemble > 1 else {}),
            **_scores(found, task.measures),
            **{"what": what, "seconds": round(time.monotonic() - began), "commit": commit},
        }
        print(json.dumps(row), flush=True)
        with given.rows.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _scores(found: dict[str, Evaluation], measures: tuple[str, ...]) -> dict[str, float]:
    """By measure and part: the mean over images, and where there is one the pooled figure."""
    scores = {}
    for part, evaluation in found.items():
        for measure in measures:
            key = f"{measure} {part}".strip()
            scores[key] = round(evaluation.mean[measure], 4)
            if measure in evaluation.pooled:
                scores[f"{key} pooled"] = round(evaluation.pooled[measure], 4)
    return scores


if __name__ == "__main__":
    main()
