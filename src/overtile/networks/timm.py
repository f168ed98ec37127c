"""Encoders of the library timm: made, checked, and given the parameters that it publishes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import pairwise
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch

from overtile.errors import SettingsError, optional
from overtile.networks.torchvision import mend_torchvision
from overtile.networks.weights import State, unreachable

ANSWER_S = 5.0
"""A host that has not answered by then is not within reach."""

WORKS = "resnet18, resnet34, resnet50, densenet121 and convnext_tiny work"


def library() -> Any:
    """The library itself.

    Raises
    ------
    MissingError
        It is not installed.
    """
    mend_torchvision()
    return optional("timm", "encoders")


def make_encoder(name: str, channels: int, **options: Any) -> Any:
    """The model of timm of this name as a list of maps, on the processor."""
    with torch.device("cpu"):
        return library().create_model(name, features_only=True, in_chans=channels, **options)


@lru_cache
def maps_of(name: str) -> tuple[tuple[int, ...], tuple[int, ...], bool]:
    """The strides and channels of an encoder's maps, and whether channels are their last axis.

    Raises
    ------
    SettingsError
        There is no such encoder, or its maps are not a pyramid over images of any size.
    """
    timm = library()
    if not timm.is_model(name):
        near = ", ".join(difflib.get_close_matches(name, timm.list_models(), 4)) or "none"
        raise SettingsError(
            f"timm has no encoder '{name}'; with names like it: {near}. timm.list_models() lists "
            f"all, of which {WORKS}."
        )
    try:
        with torch.random.fork_rng(devices=[]):
            encoder = make_encoder(name, 3)
        strides, channels = encoder.feature_info.reduction(), encoder.feature_info.channels()
        sides = 8 * strides[-1], 9 * strides[-1]
        with torch.no_grad():
            maps = encoder.to("meta").eval()(torch.empty(1, 3, *sides, device="meta"))
    except Exception as error:  # whatever a model raises that gives no maps of this size
        reason = str(error).strip().split("\n")[0]
        raise SettingsError(
            f"The encoder '{name}' gives no feature maps of an image of any size ({reason}): "
            f"expected a convolutional network; {WORKS}."
        ) from error
    last = str(getattr(encoder, "output_fmt", "NCHW")).endswith("NHWC")
    found = [tuple(each.shape[1:3] if last else each.shape[2:4]) for each in maps]
    wanted = [tuple(side // stride for side in sides) for stride in strides]
    grows = all(b > a and b % a == 0 for a, b in pairwise(strides))
    if found != wanted or not grows or len(strides) < 2:
        raise SettingsError(
            f"The encoder '{name}' gives maps of {found} px of an image of {sides} px: expected "
            f"two or more, each smaller than the one before by a whole factor; {WORKS}."
        )
    return tuple(strides), tuple(channels), last


def colours_of(encoder: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the colours, between 0 and 1, that it was trained with."""
    known = encoder.pretrained_cfg
    return tuple(known["mean"]), tuple(known["std"])


def published(name: str) -> State:
    """The parameters that timm publishes of an encoder, under its names, for three colours.

    Raises
    ------
    SettingsError
        It publishes none.
    MissingError
        They are not in the cache of the Hugging Face hub, which cannot be reached.
    """
    known = library().models.get_pretrained_cfg(name)
    if known is None or not known.has_weights:
        raise SettingsError(
            f"timm publishes no parameters of '{name}': give a file with --encoder-weights PATH, "
            "or train from random ones with --encoder-weights none."
        )
    constants = optional("huggingface_hub", "encoders").constants
    url = known.url
    if known.hf_hub_id:
        file = known.hf_hub_filename or "model.safetensors"
        url = f"{constants.ENDPOINT}/{known.hf_hub_id}/resolve/main/{file}"
    # Each way of saying that something is not there is another class.
    with suppress(Exception), _offline(constants):
        return _loaded(name)
    try:
        _reach(url)  # else the hub tries for half a minute
        return _loaded(name)
    except Exception as error:
        raise unreachable(url, str(constants.HF_HUB_CACHE), error) from error


def _loaded(name: str) -> State:
    state: State = make_encoder(name, 3, pretrained=True).state_dict()
    return state


@contextmanager
def _offline(constants: Any) -> Iterator[None]:
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _reach(url: str) -> None:
    """Ask for an address; URLError and the like where nothing answers."""
    with suppress(HTTPError):  # an answer, too
        urlopen(Request(url, method="HEAD"), timeout=ANSWER_S).close()
