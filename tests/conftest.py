"""What all tests share: one thread of torch per worker, the real data, a small trained model."""

from __future__ import annotations

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before PyTorch is loaded, for this process and those that it starts: threads that wait spin.
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest

import overtile
from overtile.sample import draw_sample
from overtile.settings import Settings, UNetSettings, WindowSettings


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real annotated images beside the checkout (see docs/architecture.md)."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data are not at {folder}")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Measurements of this machine are made anew, and kept out of the user's folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of depth 2, hardly trained, on disk."""
    settings = Settings(
        network=UNetSettings(padding="same", depth=2, base_channels=4, norm="batch", dropout=0),
        window=WindowSettings(size_px=32, batch_size=2),
        border="own",
        calibrate=True,
        precision="float32",
        layout="channels_last",
    )
    folder = tmp_path_factory.mktemp("models") / "cells.model"
    image, cells = draw_sample(0, 0, (128, 112))
    overtile.train(image, cells, steps=20, settings=settings, output=folder)
    return folder
