"""What a training tells other programs while it runs, through Lightning's loggers.

All are told what the model's history is told, at the same steps. A table is always written where
the run is kept; its rows are the model's history in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from overtile.errors import MissingError, SettingsError, optional
from overtile.model.history import HistoryRow
from overtile.networks.torchvision import mend_torchvision
from overtile.settings import Settings

mend_torchvision()
from lightning.pytorch import loggers as lightning  # noqa: E402  (it imports torchvision)

Logger = lightning.Logger

PROJECT = "overtile"
"""In which MLflow and Weights & Biases keep the runs."""


def make_loggers(
    names: Sequence[str], folder: Path | None, tell: Callable[[str], None] = lambda _: None
) -> list[Logger]:
    """The loggers of a run.

    Parameters
    ----------
    names
        Of `LOGGERS`, beside the table.
    folder
        ``NAME.training``, where the run is kept and gets its table, ``log/metrics.csv``; or None,
        for no table. What the others write lies beside it, in ``NAME.logs``.
    tell
        Told where each of the named ones writes.

    Raises
    ------
    SettingsError
        There is no logger of this name.
    MissingError
        Its program is not installed.
    """
    logs = Path(f"{PROJECT}.logs") if folder is None else folder.with_suffix(".logs")
    made: list[Logger] = []
    for name in dict.fromkeys(names):
        if name not in LOGGERS:
            raise SettingsError(f"There is no logger '{name}'; known: {', '.join(LOGGERS)}.")
        logger, place = LOGGERS[name](logs)
        made.append(logger)
        tell(f"Followed by {place}.")
    if folder is not None:
        made.append(lightning.CSVLogger(folder, "", "log", flush_logs_every_n_steps=1))
    return made


def begin(loggers: Sequence[Logger], settings: Settings, history: Sequence[HistoryRow]) -> None:
    """Tell the settings, and the history of the run that this one goes on from."""
    for logger in loggers:
        if not isinstance(logger, lightning.CSVLogger):
            logger.log_hyperparams(settings.model_dump(mode="json"))
    for row in history:
        log(loggers, row)


def log(loggers: Sequence[Logger], row: HistoryRow) -> None:
    """Tell a row of the history, without what is NaN because nothing was there to measure."""
    row_values: dict[str, Any] = asdict(row)
    step = row_values.pop("step")
    values = {name: value for name, value in row_values.items() if not math.isnan(value)}
    for logger in loggers:
        logger.log_metrics(values, step)


def _tensorboard(logs: Path) -> tuple[Logger, str]:
    optional("tensorboard", "track")
    # Each start of a run is a version of its own.
    logger = lightning.TensorBoardLogger(logs, "", default_hp_metric=False)
    return logger, f"TensorBoard: tensorboard --logdir {logs}"


def _mlflow(logs: Path) -> tuple[Logger, str]:
    _need("mlflow")
    logger = lightning.MLFlowLogger(PROJECT, logs.stem, save_dir=str(logs / "mlruns"))
    # MLflow's own variable MLFLOW_TRACKING_URI, where it is set, says where runs are kept.
    return logger, f"MLflow: experiment {PROJECT}, run {logs.stem}, in {logger._tracking_uri}"


def _wandb(logs: Path) -> tuple[Logger, str]:
    _need("wandb")
    logger = lightning.WandbLogger(logs.stem, logs, project=PROJECT)
    return logger, f"Weights & Biases: project {PROJECT}, run {logs.stem}, files in {logs}"


def _need(package: str) -> None:
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        raise MissingError(
            f"The logger '{package}' needs the library of that name, which is not installed: "
            f"pip install {package}."
        ) from error


LOGGERS: dict[str, Callable[[Path], tuple[Logger, str]]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
"""Name -> from the folder for its files to the logger, and where it writes, in words."""
