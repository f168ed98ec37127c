"""Parameters that others trained: read, downloaded, and fitted to an encoder key by key."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from overtile.errors import MissingError, ModelError, SettingsError

State = dict[str, Tensor]
"""Name -> parameter or statistic."""

SHOWN = 4
"""Of what does not fit, so many are named."""


COUNT = "num_batches_tracked"
"""Of a batch norm: files of before 2018 lack it, and nothing here reads it."""


def read(path: Path) -> State:
    """The parameters in a file: .safetensors, or what ``torch.save`` wrote of a state dict.

    The dictionary may lie under ``state_dict``, and its names may begin with ``module.``, as they
    do after training on several GPUs. Nothing that could run code is unpickled.

    Raises
    ------
    SettingsError
        There is no such file.
    ModelError
        It is damaged, holds something else, or no tensors.
    """
    if not path.is_file():
        raise SettingsError(
            f"encoder_weights: there is no file {path}: expected 'pretrained', 'none', or a file "
            "of parameters (.safetensors, .pth or .pt)."
        )
    wanted = "expected .safetensors, or a state dict that torch.save wrote (.pth, .pt)"
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors.torch.load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{path} holds no parameters ({reason}): {wanted}.") from error
    if isinstance(found, dict):
        inner = found.get("state_dict", found)
        tensors = {n.removeprefix("module."): v for n, v in inner.items() if isinstance(v, Tensor)}
        if tensors:
            return tensors
        holds = f"the keys {', '.join(map(str, list(found)[:SHOWN]))}"
    else:
        holds = f"a {type(found).__name__}"
    raise ModelError(f"{path} holds {holds}, and no tensors by name: {wanted}.")


def download(url: str) -> State:
    """The parameters at an address, from PyTorch's cache if they were downloaded before.

    Raises
    ------
    MissingError
        They are not in the cache, and the address cannot be reached.
    """
    try:
        found: State = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True
        )
    except (URLError, TimeoutError, ConnectionError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise unreachable(url, str(folder), error) from error
    return found


def unreachable(url: str, cache: str, error: Exception) -> MissingError:
    """What to say where parameters are neither in the cache nor within reach."""
    reason = str(getattr(error, "reason", error)).strip() or type(error).__name__
    return MissingError(
        f"The encoder's parameters are not in {cache}, and {url} cannot be reached "
        f"({reason}). Download that file where there is a "
        "network and give it with --encoder-weights PATH, or train from random parameters with "
        "--encoder-weights none."
    )


def fit(wanted: State, given: State, failed: str) -> State:
    """Parameters for an encoder, its first layer adapted to the number of channels.

    Parameters
    ----------
    wanted
        The encoder's own; all must be given, in their shapes.
    given
        Under the encoder's names, and nothing that it does not have.
    failed
        How an error begins.

    Raises
    ------
    ModelError
        A name is missing or unknown, or a shape differs.
    """
    fitted, wrong = {}, []
    for name, ours in wanted.items():
        theirs = given.get(name)
        if name.endswith(COUNT):
            fitted[name] = ours
        elif theirs is None:
            wrong.append(f"{name} {_shape(ours)} is missing")
        else:
            fitted[name] = theirs = adapted(theirs, ours)
            if theirs.shape != ours.shape:
                wrong.append(f"{name} is {_shape(theirs)} and should be {_shape(ours)}")
    unknown = [name for name in given if name not in wanted and not name.endswith(COUNT)]
    wrong += [f"{name} {_shape(given[name])} is not in the encoder" for name in unknown]
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ModelError(
            f"{failed}: {'; '.join(wrong[:SHOWN])}{more}. Expected all {len(wanted)} parameters "
            "and statistics of this encoder: give its own file, or choose the encoder that the "
            "file was made for."
        )
    return fitted


def adapted(theirs: Tensor, ours: Tensor) -> Tensor:
    """The kernel of a first layer, (k 3 *size) for colours, for as many channels as ours has.

    One channel gets the sum over the colours, so that it gives what a gray image copied to three
    gives. More get the colours in turn, times 3 / n, so that what comes out stays as large. Any
    other tensor is returned as it is.
    """
    pairs = zip(theirs.shape, ours.shape, strict=False)
    differs = [axis for axis, (one, other) in enumerate(pairs) if one != other]
    if theirs.ndim != ours.ndim or differs != [1] or theirs.shape[1] != 3:
        return theirs
    count = ours.shape[1]
    if count == 1:
        return theirs.sum(dim=1, keepdim=True)
    return theirs[:, [n % 3 for n in range(count)]] * (3 / count)


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape))
