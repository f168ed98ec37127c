"""The programs that `accuracy.py` compares with, each trained as its users would, in the same time.

``tutorial`` is the U-Net of tutorials: 64 channels, batch norm, flips, Adam, cross-entropy, crops
of 256 px. ``smp`` is `segmentation_models_pytorch.Unet` with a ResNet-18 at random, trained
likewise. ``nnunet`` is nnU-Net v2 with its own planner and trainer, whose iterations are cut to fit
the time; in minutes of a processor it is out of its element.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from overtile.image import Image
from overtile.labels import LabelMeaning
from overtile.layouts import Pairs
from overtile.networks.torchvision import mend_torchvision
from overtile.objects import find_objects

mend_torchvision()  # which the peers import

CROP, BATCH, RATE = 256, 4, 1e-3
GRID = 32
FINISH_S = 5.0
PEERS = ("tutorial", "smp", "nnunet")


@dataclass(frozen=True)
class Trained:
    """What a peer predicts: probabilities (k *space) of an image, and objects by them."""

    predict: Callable[[Image], NDArray[np.float32]]
    what: str

    def find(self, likely: NDArray[np.float32], image: Image) -> NDArray[np.int32]:  # noqa: ARG002
        return find_objects(likely[1:].sum(axis=0))


def train(
    name: str, pairs: Pairs, places: list[int], meaning: LabelMeaning, minutes: float, seed: int
) -> Trained:
    started = time.monotonic()
    images, targets = [], []
    for place in places:
        images.append(np.asarray(pairs[place].image.read(), np.float32))
        targets.append(meaning.class_map(pairs[place].read_label()).astype(np.int64))
    until = started + 60 * minutes - FINISH_S
    if name == "nnunet":
        return _nnunet(images, targets, meaning, until, pairs.dimensions)
    torch.manual_seed(seed)
    channels, classes = len(images[0]), len(meaning.names)
    if name == "tutorial":
        network: nn.Module = TutorialUNet(channels, classes)
    else:
        import segmentation_models_pytorch as smp

        network = smp.Unet("resnet18", encoder_weights=None, in_channels=channels, classes=classes)
    return _by_hand(name, network, images, targets, until, seed)


class TutorialUNet(nn.Module):
    """64 to 1024 channels, same padding, batch norm."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        widths = [64, 128, 256, 512, 1024]
        before = [channels, *widths]
        self.down = nn.ModuleList(map(_two, before, widths))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, 2, 2) for width in widths[-2::-1]
        )
        self.merge = nn.ModuleList(_two(2 * width, width) for width in widths[-2::-1])
        self.head = nn.Conv2d(64, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        kept = []
        for level, block in enumerate(self.down):
            image = block(F.max_pool2d(image, 2) if level else image)
            kept.append(image)
        kept.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            image = merge(torch.cat([kept.pop(), up(image)], dim=1))
        return self.head(image)


def _two(before: int, after: int) -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers += [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _by_hand(
    name: str,
    network: nn.Module,
    images: list[NDArray[np.float32]],
    targets: list[NDArray[np.int64]],
    until: float,
    seed: int,
) -> Trained:
    """The loop of tutorials, until the time is up."""
    flat = np.concatenate([image.reshape(len(image), -1)[:, ::17] for image in images], axis=1)
    mean, std = flat.mean(axis=1)[:, None, None], flat.std(axis=1)[:, None, None] + 1e-6
    images = [(image - mean) / std for image in images]
    random = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    steps = 0
    network.train()
    while time.monotonic() < until:
        crops = [_crop(*_one(images, targets, random), random) for _ in range(BATCH)]
        window = torch.from_numpy(np.stack([crop for crop, _ in crops]))
        target = torch.from_numpy(np.stack([truth for _, truth in crops]))
        loss = F.cross_entropy(network(window), target, ignore_index=-1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        steps += 1
    network.eval()

    @torch.no_grad()
    def predict(image: Image) -> NDArray[np.float32]:
        pixels = (np.asarray(image.data, np.float32) - mean) / std
        height, width = pixels.shape[1:]
        rims = [(0, 0), (0, -height % GRID), (0, -width % GRID)]
        padded = torch.from_numpy(np.pad(pixels, rims, mode="reflect"))[None]
        return network(padded).softmax(dim=1)[0, :, :height, :width].numpy()

    return Trained(predict, f"{name}, {steps} steps")


def _one(images: list[Any], targets: list[Any], random: np.random.Generator) -> tuple[Any, Any]:
    place = int(random.integers(len(images)))
    return images[place], targets[place]


def _crop(
    image: NDArray[np.float32], target: NDArray[np.int64], random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A random square, perhaps flipped."""
    missing = [max(0, CROP - size) for size in target.shape]
    rims = [(0, more) for more in missing]
    image = np.pad(image, [(0, 0), *rims], mode="reflect")
    target = np.pad(target, rims, constant_values=-1)
    y, x = (int(random.integers(size - CROP + 1)) for size in target.shape)
    flips = tuple(slice(None, None, int(step)) for step in random.choice((-1, 1), 2))
    inside = (slice(y, y + CROP), slice(x, x + CROP))
    return (
        np.ascontiguousarray(image[(slice(None), *inside)][(slice(None), *flips)]),
        np.ascontiguousarray(target[inside][flips]),
    )


def _nnunet(
    images: list[NDArray[np.float32]],
    targets: list[NDArray[np.int64]],
    meaning: LabelMeaning,
    until: float,
    dimensions: int,
) -> Trained:
    """Planned and preprocessed by nnU-Net, trained for as many iterations as the time holds."""
    root = Path(tempfile.mkdtemp())
    for key in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{key}"] = str(root / key)
    os.environ |= {"nnUNet_compile": "f", "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "2"}
    import SimpleITK
    from batchgenerators.utilities.file_and_folder_operations import save_json
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiment_dataset,
        preprocess_dataset,
    )
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.file_path_utilities import load_json

    name, form = "Dataset001_Task", "2d" if dimensions == 2 else "3d_fullres"
    folder = root / "raw" / name
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    spacing = (999.0, 1.0, 1.0) if dimensions == 2 else (1.0, 1.0, 1.0)

    def write(volume: NDArray[Any], file: Path) -> None:
        image = SimpleITK.GetImageFromArray(volume)
        image.SetSpacing(spacing[::-1])
        SimpleITK.WriteImage(image, str(file))

    ignored = any((target < 0).any() for target in targets)
    classes = len(meaning.names)
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        volume = image[:, None] if dimensions == 2 else image
        truth = np.where(target < 0, classes, target)
        truth = truth[None] if dimensions == 2 else truth
        for channel, layer in enumerate(volume):
            write(layer, folder / "imagesTr" / f"case_{number:03d}_{channel:04d}.nii.gz")
        write(truth.astype(np.uint8), folder / "labelsTr" / f"case_{number:03d}.nii.gz")
    labels = {"background": 0} | {f"class {n}": n for n in range(1, classes)}
    description = {
        "channel_names": {str(n): f"channel {n}" for n in range(len(images[0]))},
        "labels": labels | ({"ignore": classes} if ignored else {}),
        "numTraining": len(images),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    save_json(description, str(folder / "dataset.json"))
    extract_fingerprint_dataset(1, num_processes=2)
    plan_experiment_dataset(1)
    preprocess_dataset(1, configurations=(form,), num_processes=(2,))
    plans = load_json(str(root / "preprocessed" / name / "nnUNetPlans.json"))
    plans["continue_training"] = False
    trainer = nnUNetTrainer(plans, form, "all", description, device=torch.device("cpu"))
    trainer.num_epochs, trainer.num_val_iterations_per_epoch = 1, 1
    trainer.disable_checkpointing = False
    trainer.on_train_start()
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    began, planned, steps, total = time.monotonic(), 1.0, 0, until - time.monotonic()
    while time.monotonic() + planned < until:
        done = (time.monotonic() - began) / max(total, 1)
        for group in trainer.optimizer.param_groups:  # its polynomial decay, by the clock
            group["lr"] = trainer.initial_lr * (1 - min(done, 0.999)) ** 0.9
        trainer.train_step(next(trainer.dataloader_train))
        steps += 1
        planned = (time.monotonic() - began) / steps
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    predictor = nnUNetPredictor(
        use_mirroring=True, device=torch.device("cpu"), perform_everything_on_device=False
    )
    predictor.initialize_from_trained_model_folder(
        trainer.output_folder_base, use_folds=("all",), checkpoint_name="checkpoint_final.pth"
    )

    def predict(image: Image) -> NDArray[np.float32]:
        pixels = np.asarray(image.data, np.float32)
        volume = pixels[:, None] if dimensions == 2 else pixels
        _, likely = predictor.predict_single_npy_array(
            volume, {"spacing": list(spacing)}, None, None, save_or_return_probabilities=True
        )
        found = np.asarray(likely, np.float32)
        return found[:, 0] if dimensions == 2 else found

    return Trained(predict, f"nnU-Net {form}, {steps} iterations")
