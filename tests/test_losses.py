"""Losses against their formulas in numpy, torch's own, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from overtile.losses import loss, probabilities
from overtile.settings import LossSettings

CROSS_ENTROPY, DICE = LossSettings(), LossSettings(cross_entropy=0, dice=1)
SIGMOID = LossSettings(activation="sigmoid")


def case(classes: int = 3, dtype: torch.dtype = torch.float64):
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, classes, 5, 6, generator=random, dtype=dtype)
    target = torch.randint(-1, classes, (2, 5, 6), generator=random)
    return logits, target, 5 * torch.rand(2, 5, 6, generator=random, dtype=dtype)


def test_cross_entropy_is_the_papers_energy() -> None:
    logits, target, weight = case()
    total, labelled = 0.0, 0
    for b, y, x in np.ndindex(2, 5, 6):
        if target[b, y, x] >= 0:
            a = logits[b, :, y, x].numpy()
            total -= weight[b, y, x] * np.log(np.exp(a[target[b, y, x]]) / np.exp(a).sum())
            labelled += 1
    assert loss(logits, target, weight, CROSS_ENTROPY).item() == pytest.approx(total / labelled)


def test_cross_entropy_is_torchs_at_weight_1() -> None:
    logits, target, _ = case()
    expected = F.cross_entropy(logits, target, ignore_index=-1)
    ones = torch.ones(target.shape, dtype=logits.dtype)
    assert torch.allclose(loss(logits, target, ones, CROSS_ENTROPY), expected)


def test_sigmoid_is_torchs_binary_cross_entropy() -> None:
    logits, target, weight = case()
    hot = F.one_hot(target.clamp(min=0), 3).movedim(-1, 1).to(logits.dtype)
    each = F.binary_cross_entropy_with_logits(logits, hot, reduction="none").sum(1)
    inside = target >= 0
    expected = (each * weight)[inside].sum() / inside.sum()
    assert torch.allclose(loss(logits, target, weight, SIGMOID), expected)


def test_several_classes_at_a_pixel() -> None:
    logits, _, weight = case()
    hot = (torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(1)) < 0.5).double()
    each = F.binary_cross_entropy_with_logits(logits, hot, reduction="none").sum(1)
    expected = (each * weight).mean()
    assert torch.allclose(loss(logits, hot, weight, SIGMOID), expected)


SEVERAL = [SIGMOID, LossSettings(activation="sigmoid", cross_entropy=0, dice=1)]


@pytest.mark.parametrize("chosen", SEVERAL)
def test_several_classes_with_pixels_left_out(chosen: LossSettings) -> None:
    """A pixel that is -1 in one class counts as one of weight 0, whatever it is in the others."""
    logits, _, weight = case()
    random = torch.Generator().manual_seed(1)
    hot = (torch.rand(2, 3, 5, 6, generator=random) < 0.5).double()
    out = torch.rand(2, 5, 6, generator=random) < 0.3
    marked = hot.clone()
    marked[:, 1][out] = -1
    expected = loss(logits, hot, weight.masked_fill(out, 0), chosen)
    assert torch.allclose(loss(logits, marked, weight, chosen), expected)


@pytest.mark.parametrize("chosen", SEVERAL)
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_several_classes_of_any_type(chosen: LossSettings, dtype: torch.dtype) -> None:
    logits, _, weight = case()
    hot = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(1)) < 0.5
    value = loss(logits, hot.to(dtype), weight, chosen)
    assert torch.equal(value, loss(logits, hot.double(), weight, chosen))


def test_dice_is_its_formula() -> None:
    logits, target, weight = case()
    target[target == 2] = 1  # a class that no pixel has is left out
    likely, inside = logits.softmax(1).numpy(), target.numpy() >= 0
    terms = []
    for number in (0, 1):
        p, t = likely[:, number][inside], (target.numpy() == number)[inside]
        terms.append(1 - 2 * (p * t).sum() / (p.sum() + t.sum()))
    assert loss(logits, target, weight, DICE).item() == pytest.approx(np.mean(terms))


def test_dice_of_the_truth_is_0() -> None:
    _, target, weight = case()
    sure = 200.0 * (F.one_hot(target.clamp(min=0), 3).movedim(-1, 1) - 0.5)
    assert loss(sure, target, weight, DICE).item() == pytest.approx(0, abs=1e-6)


def test_sums_are_weighted() -> None:
    both = LossSettings(cross_entropy=2, dice=0.5)
    logits, target, weight = case()
    parts = [loss(logits, target, weight, one) for one in (CROSS_ENTROPY, DICE)]
    assert torch.allclose(loss(logits, target, weight, both), 2 * parts[0] + 0.5 * parts[1])


ALL = [CROSS_ENTROPY, DICE, SIGMOID, LossSettings(activation="sigmoid", cross_entropy=0, dice=1)]


@pytest.mark.parametrize("chosen", ALL)
def test_gradient_is_that_of_finite_differences(chosen: LossSettings) -> None:
    logits, target, weight = case()
    assert torch.autograd.gradcheck(
        lambda x: loss(x, target, weight, chosen), logits.requires_grad_()
    )


@pytest.mark.parametrize("chosen", ALL)
@pytest.mark.parametrize("ignored_by", ["target", "weight"])
def test_without_a_label_it_is_0_and_so_is_the_gradient(
    chosen: LossSettings, ignored_by: str
) -> None:
    logits, target, weight = case()
    if ignored_by == "target":
        target = torch.full_like(target, -1)
    else:
        weight = torch.zeros_like(weight)
    value = loss(logits.requires_grad_(), target, weight, chosen)
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("chosen", ALL)
def test_the_order_of_pixels_does_not_matter(chosen: LossSettings) -> None:
    logits, target, weight = case()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    shuffled = loss(logits[..., order], target[..., order], weight[..., order], chosen)
    assert torch.allclose(shuffled, loss(logits, target, weight, chosen))


@pytest.mark.parametrize("chosen", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite(chosen: LossSettings, dtype: torch.dtype) -> None:
    logits, target, weight = case(dtype=torch.float32)
    wild = (logits * 1e4).to(dtype).requires_grad_()
    value = loss(wild, target, weight, chosen)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert wild.grad.isfinite().all()


def test_probabilities() -> None:
    logits, _, _ = case()
    assert torch.allclose(probabilities(logits, "softmax").sum(1), torch.ones(2, 5, 6).double())
    assert torch.allclose(probabilities(logits, "sigmoid"), 1 / (1 + (-logits).exp()))
