"""What is learnt in a quarter of an hour: Overtile beside other programs, on held-out real images.

    python benchmarks/accuracy.py isbi dsb --minutes 15 --seeds 0 1 2
    .venv-bench/bin/python benchmarks/accuracy.py isbi --program tutorial smp nnunet

Splits are those of ``../shared/data/README.md``. Every program gets the same images, the same time
(from its start to its trained network, on the same cores), and its own defaults; all predictions
are scored by `overtile.evaluation`. A row is printed, and added to the file of ``--rows``; the
models of Overtile, with their learning curves, are left in the folder of ``--models``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import accuracy_peers as peers

import overtile
from overtile import layouts
from overtile.evaluation import Evaluation, evaluate_pairs
from overtile.labels import told, understand
from overtile.layouts import Pairs
from overtile.presets import default_settings

DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Task:
    """A set of data with its split: which pairs are trained on, and which are scored together."""

    pairs: Pairs
    train: list[int]
    scored: dict[str, list[int]]
    measures: tuple[str, ...]


def isbi(training: list[int]) -> Task:
    folder = DATA / "isbi2012"
    pairs = layouts.pairs(folder / "train-volume.tif", folder / "train-labels.tif")
    return Task(pairs, training, {"": list(range(24, 30))}, ("V_rand", "pixel error"))


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
    late = [place for place, frame in enumerate(frames[: len(silver)]) if frame >= "056"]
    return Task(pairs, early, {"gold t054": [frames.index("054")], "silver": late}, ("SEG",))


def dsb() -> Task:
    pairs = layouts.pairs(DATA / "dsb2018")
    held = [_hash(name) % 15 == 0 for name in pairs.names]
    return _parted(pairs, held, ("AP at 0.5", "mean AP 0.5-0.9"))


def _hash(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def dubai() -> Task:
    pairs = layouts.pairs(DATA / "dubai")
    return _parted(pairs, [pair.group in ("Tile 4", "Tile 6") for pair in pairs], ("mean IoU",))


def camvid() -> Task:
    pairs = layouts.pairs(DATA / "camvid")
    return _parted(pairs, [pair.group == "0006R0" for pair in pairs], ("mean IoU",))


def hippocampus() -> Task:
    pairs = layouts.pairs(DATA / "msd" / "Task04_Hippocampus")
    return _parted(pairs, [n >= 48 for n in range(len(pairs))], ("Dice Anterior", "Dice Posterior"))


def _parted(pairs: Pairs, held: list[bool], measures: tuple[str, ...]) -> Task:
    places = range(len(pairs))
    scored = [place for place in places if held[place]]
    return Task(pairs, [p for p in places if not held[p]], {"": scored}, measures)


TASKS: dict[str, Callable[[], Task]] = {
    "isbi": lambda: isbi(list(range(24))),
    "isbi-3": lambda: isbi([0, 10, 20]),
    "hela": hela,
    "dsb": dsb,
    "dubai": dubai,
    "camvid": camvid,
    "hippocampus": hippocampus,
}


def with_overtile(
    task: Task, minutes: float, seed: int, output: Path | None
) -> tuple[dict[str, Evaluation], str]:
    """Trained by its defaults; the seed is all that is set."""
    others = [place for place in range(len(task.pairs)) if place not in task.train]
    model = overtile.train(
        task.pairs,
        holdout=others,
        minutes=minutes,
        settings=default_settings("unet3d" if task.pairs.dimensions == 3 else "unet").model_copy(
            update={"seed": seed}
        ),
        keep={"seed"},
        output=output,
        overwrite=True,
        started=time.monotonic(),
    )
    found = {
        part: overtile.evaluate(model, task.pairs, only=places)
        for part, places in task.scored.items()
    }
    network = model.model.settings.network
    origin = model.model.origin
    return found, f"{network.name}, {origin.steps} steps in {origin.seconds:.0f} s"


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
    given = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    for name in given.tasks:
        for program in given.program:
            for seed in given.seeds:
                task, began = TASKS[name](), time.monotonic()
                if program == "overtile":
                    output = given.models and given.models / f"{name}-{seed}.model"
                    found, what = with_overtile(task, given.minutes, seed, output)
                else:
                    found, what = with_peer(program, task, given.minutes, seed)
                row: dict[str, object] = {"task": name, "program": program, "seed": seed}
                for part, evaluation in found.items():
                    for measure in task.measures:
                        key = f"{measure} {part}".strip()
                        row[key] = round(evaluation.mean[measure], 4)
                        if measure in evaluation.pooled:
                            row[f"{key} pooled"] = round(evaluation.pooled[measure], 4)
                row |= {"what": what, "seconds": round(time.monotonic() - began), "commit": commit}
                print(json.dumps(row), flush=True)
                with given.rows.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
