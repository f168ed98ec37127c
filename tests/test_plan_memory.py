"""The memory that a plan states for a training step, beside what a process really takes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from overtile import presets
from overtile.planning.memory import peak_mib
from overtile.settings import Settings, WindowSettings, to_yaml

SCRIPT = """
import ctypes, sys, torch
from pathlib import Path
from overtile import networks
from overtile.machine import resident_memory
from overtile.settings import Settings, WindowSettings, from_yaml
from overtile.step import Average, Step

def run(settings, steps):
    network = networks.build(settings.network)
    step, average = Step(network, settings), Average(network, 0.9)
    optimiser = step.make_optimiser()
    count = settings.window.batch_size
    for number in range(steps):
        shape = count, *step.sizes.context
        batch = torch.rand(count, settings.network.channels, *shape[1:]), torch.ones(shape).long()
        step((*batch, torch.ones(shape), torch.arange(count))).backward()
        optimiser.step()
        optimiser.zero_grad()
        average.update(network)

settings = from_yaml(Settings, sys.stdin.read(), "")
small = WindowSettings(size_px=32, batch_size=1)
run(settings.model_copy(update={"window": small}), 1)  # libraries are loaded
ctypes.CDLL(None).malloc_trim(0)  # what that has freed does not serve what follows
Path("/proc/self/clear_refs").write_text("5")  # the peak that the system keeps starts anew
before = resident_memory()
run(settings, 4)
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
print(peak / 2**10 - before / 2**20)
"""


def of(name: str, width: int, size: int, batch: int, precision: str) -> Settings:
    usual = presets.default_settings(name)
    return usual.model_copy(
        update={
            "network": usual.network.model_copy(update={"base_channels": width}),
            "window": WindowSettings(size_px=size, batch_size=batch),
            "precision": precision,
            "layout": "channels_last",
        }
    )


@pytest.mark.parametrize(
    "settings",
    [
        of("unet", 32, 256, 4, "float32"),
        of("unet", 32, 256, 4, "bfloat16"),
        of("unet3d", 8, 48, 2, "float32"),
        of("unet", 32, 256, 4, "float32").model_copy(update={"memory_saving": True}),
    ],
    ids=["planes", "bfloat16", "volumes", "computed twice"],
)
def test_what_is_stated_is_what_a_process_takes(settings: Settings) -> None:
    """Within 20 %, above a process that has everything loaded."""
    # Dask, once it has started a worker, leaves its settings of glibc's allocator behind.
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("MALLOC_")}
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=to_yaml(settings),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert peak_mib(settings, "cpu") == pytest.approx(float(done.stdout), rel=0.2)
