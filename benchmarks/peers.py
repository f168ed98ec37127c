"""The programs that `benchmarks/speed.py` measures: one network, an image in, class ids out.

Peers are imported where they are used, so that each process holds only its own.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from overtile import model as storage
from overtile.engines.choice import convert
from overtile.engines.torch import network_of
from overtile.image import Image
from overtile.networks import UNet
from overtile.normalise import Normalisation
from overtile.sample import draw_sample
from overtile.segmenter import load
from overtile.settings import OptimiserSettings, Settings, UNetSettings, WindowSettings

SEED = 0
STEPS = 150
FOLDER = Path(tempfile.gettempdir()) / "overtile-benchmark.model"
CPU = torch.device("cpu")

Predict = Callable[[np.ndarray], "np.ndarray | Tensor"]
"""From an image (c y x) to class ids (y x), or to logits (k y x)."""


@dataclass(frozen=True)
class Case:
    """A row of the table.

    `reference` is the case that tells what its classes should be; `chosen`, the precision that was
    chosen where it was left open.
    """

    title: str
    prepare: Callable[[UNet, Case, int], Predict]
    precision: str = "float32"
    channels_last: bool = False
    engine: str = "torch"
    once: bool = False
    overlap: float = 0.5
    mode: str = "gaussian"
    tile_px: int | None = None
    reference: str = "whole"
    chosen: list[str] = field(default_factory=list)


class Run(nn.Module):
    """The network as a peer would be given it: its memory layout and precision applied inside."""

    def __init__(self, network: nn.Module, case: Case) -> None:
        super().__init__()
        self.case = case
        layout = torch.channels_last if case.channels_last else torch.contiguous_format
        self.network = network.to(memory_format=layout)

    def forward(self, batch: Tensor) -> Tensor:
        if self.case.channels_last:
            # `contiguous` leaves the strides of a single channel as they are; `to` sets them.
            batch = batch.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, self.case.precision == "bfloat16"):
            return self.network(batch).float()


def overtile(_network: UNet, case: Case, _window_px: int) -> Predict:
    """As a user has it: loaded from its folder, tiles planned for half of the free memory."""
    model = load(FOLDER, engine=case.engine, precision=case.precision)
    case.chosen.append(model.predictor.engine.precision)
    model.predictor.cost()  # measured once on a machine, and kept
    return lambda image: model.predict(Image(image, "cyx"))


def whole(network: UNet, case: Case, _window_px: int) -> Predict:
    run = Run(network, case)
    return lambda image: run(torch.from_numpy(image)[None])[0]


def monai(network: UNet, case: Case, window_px: int) -> Predict:
    from monai.inferers import sliding_window_inference

    run = Run(network, case)
    return lambda image: sliding_window_inference(
        torch.from_numpy(image)[None],
        roi_size=window_px,
        sw_batch_size=1,
        predictor=run,
        overlap=case.overlap,
        mode=case.mode,
    )[0]


def nnunet(network: UNet, case: Case, window_px: int) -> Predict:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    with contextlib.redirect_stdout(sys.stderr):  # it prints what it does on a processor
        predictor = nnUNetPredictor(
            tile_step_size=case.overlap,
            use_gaussian=True,
            use_mirroring=True,
            perform_everything_on_device=False,
            device=CPU,
            allow_tqdm=False,
        )
    # All that it asks of its plans here is the window's size and the number of classes.
    heads = SimpleNamespace(num_segmentation_heads=network.settings.classes)
    predictor.manual_initialization(
        Run(network, case),
        plans_manager=SimpleNamespace(get_label_manager=lambda _: heads),
        configuration_manager=SimpleNamespace(patch_size=(window_px, window_px)),
        parameters=None,
        dataset_json={},
        trainer_name="",
        inference_allowed_mirroring_axes=(0, 1),
    )
    # It takes a 2-D image as a volume of one slice.
    return lambda image: predictor.predict_sliding_window_return_logits(
        torch.from_numpy(image)[:, None]
    )[:, 0]


def valid_tiles(network: UNet, case: Case, _window_px: int) -> Predict:
    """Tiles of the valid network laid edge to edge, the image mirrored (the paper's figure 2)."""
    valid = UNet(network.settings.model_copy(update={"padding": "valid"})).eval()
    valid.load_state_dict(network.state_dict())
    run, sizes = Run(valid, case), valid.fields[0]

    def predict(image: np.ndarray) -> Tensor:
        size = image.shape[1:]
        step = case.tile_px or sizes.out(sizes.size_for(max(size)))
        read = sizes.size_for(step)
        beyond = [(sizes.margin, -(-side // step) * step - side + sizes.margin) for side in size]
        mirrored = torch.from_numpy(np.pad(image, [(0, 0), *beyond], mode="reflect"))[None]
        logits = torch.empty(network.settings.classes, *size)
        for y, x in itertools.product(*(range(0, side, step) for side in size)):
            place = logits[:, y : y + step, x : x + step]
            window = run(mirrored[..., y : y + read, x : x + read])
            place.copy_(window[0, :, : place.shape[1], : place.shape[2]])
        return logits

    return predict


OURS = {"float32": "overtile-float32", "auto": "overtile"}
FAST = {"precision": "bfloat16", "channels_last": True}
QUARTER = {"overlap": 0.25, "mode": "constant"}
VALID, PAPER = {"reference": "valid", "once": True}, {"tile_px": 388}
CASES = {
    "whole": Case("one pass over the whole image, contiguous", whole, once=True),
    "whole-last": Case("one pass, channels-last", whole, channels_last=True),
    "whole-bfloat16": Case("one pass, channels-last", whole, **FAST),
    OURS["float32"]: Case("Overtile", overtile),
    "overtile-torch": Case("Overtile, PyTorch", overtile, precision="auto"),
    "overtile-openvino": Case("Overtile, OpenVINO", overtile, precision="auto", engine="openvino"),
    OURS["auto"]: Case("Overtile, the fastest", overtile, precision="auto", engine="auto"),
    "monai-25": Case("MONAI, overlap 0.25, constant", monai, **QUARTER),
    "monai-25-bfloat16": Case("MONAI, 0.25, constant, channels-last", monai, **QUARTER, **FAST),
    "monai-50": Case("MONAI, overlap 0.5, gaussian", monai, once=True),
    "monai-50-bfloat16": Case("MONAI, 0.5, gaussian, channels-last", monai, **FAST),
    "nnunet": Case("nnU-Net, step 0.5, gaussian, mirroring", nnunet, once=True),
    "nnunet-bfloat16": Case("nnU-Net, the same, channels-last", nnunet, once=True, **FAST),
    "valid": Case("valid network, one pass, mirrored image", valid_tiles, **VALID),
    "paper": Case("valid network, the paper's tiles, 572 to 388", valid_tiles, **VALID | PAPER),
}
EXACT = {"whole-last", OURS["float32"]}
ALONE = {f"convolutions-{name}": name for name in ("float32", "bfloat16")}


def train(base_channels: int) -> Path:
    """A network that has learned a little, so that its classes mean something; its model folder."""
    from overtile.jobs import train as train_model

    drawn = [draw_sample(SEED, number, (256, 256)) for number in range(4)]
    settings = Settings(
        network=UNetSettings(padding="same", base_channels=base_channels, norm="none", dropout=0),
        window=WindowSettings(size_px=128, batch_size=2),
        optimiser=OptimiserSettings(learning_rate=5e-4),
        border="own",
        layout="channels_last",
    )
    images, labels = (list(each) for each in zip(*drawn, strict=True))
    train_model(images, labels, steps=STEPS, settings=settings, output=FOLDER, overwrite=True)
    convert(storage.load(FOLDER), FOLDER, "openvino")
    return FOLDER


def build() -> tuple[UNet, Normalisation]:
    """The trained network, and what normalises its images."""
    model = storage.load(FOLDER)
    return network_of(model), model.normalisation
