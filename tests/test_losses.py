"""Losses against their formulas in numpy, torch's own, and finite differences."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from overtile.losses import loss, probabilities
from overtile.losses.boundary import signed_distance
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


def only(activation: str = "softmax", **terms: float) -> LossSettings:
    return LossSettings(activation=activation, **{"cross_entropy": 0, **terms})


TERMS: list[dict[str, float]] = [
    {"cross_entropy": 1},
    {"dice": 1},
    {"focal": 1},
    {"focal": 1, "focal_gamma": 0.5},
    {"tversky": 1},
    {"tversky": 1, "tversky_gamma": 4 / 3},
    {"boundary": 1, "boundary_reach_px": 3},
]
ALL = [only(activation, **terms) for activation in ("softmax", "sigmoid") for terms in TERMS]
SEVERAL = [only("sigmoid", **terms) for terms in TERMS]


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
    """To the boundary loss neighbours matter: it stays the same mirrored."""
    logits, target, weight = case()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    if chosen.boundary:
        order = torch.arange(6).flip(0)
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


# ── focal, Tversky and boundary, by their definitions, pixel by pixel ─────────────────────────


def brute_force(logits: torch.Tensor, activation: str):
    """Probabilities (b k *space) by their formula."""
    a = logits.double().numpy()
    return np.exp(a) / np.exp(a).sum(1, keepdims=True) if activation == "softmax" else _logistic(a)


def _logistic(a):
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_focal_is_its_formula(activation: str, gamma: float) -> None:
    """Lin et al. 2017, equation 5, with the pixel weight for alpha."""
    logits, target, weight = case()
    p, total, labelled = brute_force(logits, activation), 0.0, 0
    for b, y, x in np.ndindex(2, 5, 6):
        truth = target[b, y, x].item()
        if truth < 0:
            continue
        labelled += 1
        true = [p[b, truth, y, x]] if activation == "softmax" else [*p[b, :, y, x]]
        if activation == "sigmoid":
            true = [q if number == truth else 1 - q for number, q in enumerate(true)]
        total -= weight[b, y, x].item() * sum((1 - q) ** gamma * math.log(q) for q in true)
    found = loss(logits, target, weight, only(activation, focal=1, focal_gamma=gamma))
    assert found.item() == pytest.approx(total / labelled)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_focal_without_focus_is_cross_entropy(activation: str) -> None:
    given_ = case()
    plain = loss(*given_, LossSettings(activation=activation))
    assert torch.allclose(loss(*given_, only(activation, focal=1, focal_gamma=0)), plain)


@pytest.mark.parametrize(("alpha", "beta", "gamma"), [(0.3, 0.7, 1), (0.5, 0.5, 4 / 3), (1, 2, 3)])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_tversky_is_its_formula(activation: str, alpha: float, beta: float, gamma: float) -> None:
    """Salehi et al. 2017, equation 2, pixels by their weight; absent classes are left out."""
    logits, target, weight = case()
    target[target == 2] = 1
    p, terms = brute_force(logits, activation), []
    for number in (0, 1):
        hit = false = missed = 0.0
        for b, y, x in np.ndindex(2, 5, 6):
            if target[b, y, x] < 0:
                continue
            q, w = p[b, number, y, x], weight[b, y, x].item()
            if target[b, y, x] == number:
                hit, missed = hit + w * q, missed + w * (1 - q)
            else:
                false += w * q
        terms.append((1 - hit / (hit + alpha * false + beta * missed)) ** (1 / gamma))
    chosen = only(
        activation, tversky=1, tversky_alpha=alpha, tversky_beta=beta, tversky_gamma=gamma
    )
    assert loss(logits, target, weight, chosen).item() == pytest.approx(np.mean(terms))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_an_even_tversky_is_dice(activation: str) -> None:
    logits, target, weight = case()
    even = only(activation, tversky=1, tversky_alpha=0.5, tversky_beta=0.5)
    dice = loss(logits, target, weight, only(activation, dice=1))
    assert torch.allclose(loss(logits, target, torch.ones_like(weight), even), dice)


@pytest.mark.parametrize("space", [(5, 6), (3, 4, 5)])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_boundary_is_its_formula(activation: str, space: tuple[int, ...]) -> None:
    """Every pixel's error by the distance to the nearest labelled pixel across the border."""
    random, reach = torch.Generator().manual_seed(3), 3
    logits = torch.randn(2, 3, *space, generator=random, dtype=torch.float64)
    target = torch.randint(-1, 3, (2, *space), generator=random)
    weight = 5 * torch.rand(2, *space, generator=random, dtype=torch.float64)
    p, total, labelled = brute_force(logits, activation), 0.0, 0
    for b in range(2):
        truth = target[b].numpy()
        pixels = [at for at in np.ndindex(*space) if truth[at] >= 0]
        labelled += len(pixels)
        for at, number in itertools.product(pixels, range(3)):
            inside = truth[at] == number
            across = [other for other in pixels if (truth[other] == number) != inside]
            distance = min([reach, *(math.dist(at, other) for other in across)]) - 0.5
            error = abs(p[(b, number, *at)] - inside)
            total += weight[(b, *at)].item() * distance / reach * error / 3
    found = loss(logits, target, weight, only(activation, boundary=1, boundary_reach_px=reach))
    assert found.item() == pytest.approx(total / labelled)


def test_boundary_moves_as_kervadecs() -> None:
    """Its gradient is that of the sum of phi p, which leaves the constant of the truth out."""
    logits, target, _ = case()
    hot = torch.stack([target == number for number in range(3)], 1)
    known, logits = target >= 0, logits.requires_grad_()
    phi = signed_distance(hot, known, 4)
    theirs = torch.where(known, (phi * logits.softmax(1)).mean(1), 0).sum() / known.sum()
    ours = loss(logits, target, known.double(), only(boundary=1, boundary_reach_px=4))
    gradients = [torch.autograd.grad(value, logits)[0] for value in (theirs, ours)]
    assert torch.allclose(*gradients)


@given(
    st.lists(st.integers(1, 14), min_size=2, max_size=3),
    st.integers(1, 20),
    st.floats(0, 1),
    st.integers(0, 10**6),
)
@settings(max_examples=40, deadline=None)
def test_distances_are_scipys(sides: list[int], reach: int, share: float, seed: int) -> None:
    inside = torch.rand(1, 1, *sides, generator=torch.Generator().manual_seed(seed)) < share
    mask = inside[0, 0].numpy()
    found = signed_distance(inside.float(), torch.ones(1, *sides, dtype=torch.bool), reach)[0, 0]
    # Without a pixel across there is no border, and the distance is the farthest.
    out, into = (
        ndimage.distance_transform_edt(part) if not part.all() else np.full(sides, reach)
        for part in (mask, ~mask)
    )
    expected = np.where(mask, 0.5 - np.minimum(out, reach), np.minimum(into, reach) - 0.5) / reach
    assert np.allclose(found.numpy(), expected, atol=1e-6)
    assert found.abs().max() < 1


@given(st.sampled_from(ALL), st.integers(0, 10**6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_nothing_is_better_than_the_truth(chosen: LossSettings, seed: int, volume: bool) -> None:
    random, space = torch.Generator().manual_seed(seed), (4, 5, 3) if volume else (7, 6)
    target = torch.randint(-1, 3, (1, *space), generator=random)
    weight = 5 * torch.rand(1, *space, generator=random)
    sure = 200.0 * (torch.stack([target == number for number in range(3)], 1).float() - 0.5)
    other = 4 * torch.randn(1, 3, *space, generator=random)
    best = loss(sure, target, weight, chosen)
    assert 0 <= best < 1e-4
    assert loss(other, target, weight, chosen) >= best
    assert loss(0.9 * sure + 10 * other, target, weight, chosen) >= best - 1e-6


@pytest.mark.parametrize("chosen", ALL)
def test_autocast_leaves_it_in_float32(chosen: LossSettings) -> None:
    logits, target, weight = case(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(logits, target, weight, chosen)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, loss(logits, target, weight, chosen))


WEIGHTED = [chosen for chosen in ALL if not chosen.dice]


@pytest.mark.parametrize("chosen", WEIGHTED)
def test_an_error_costs_what_its_pixel_weighs(chosen: LossSettings) -> None:
    """One wrong pixel among right ones: the heavier it is, the more it costs."""
    target = torch.zeros(1, 6, 6, dtype=torch.int64)
    target[:, 2:] = 1
    logits = 20.0 * (torch.stack([target == number for number in range(2)], 1).float() - 0.5)
    logits[:, :, 4, 4] *= -0.1
    costs = []
    for heavy in (1.0, 3.0):
        weight = torch.ones(1, 6, 6)
        weight[:, 4, 4] = heavy
        costs.append(loss(logits, target, weight, chosen).item())
    assert costs[1] > 1.5 * costs[0]


@pytest.mark.parametrize(
    "terms", [{"focal_gamma": -1}, {"tversky_alpha": 0}, {"tversky_gamma": 0.5}, {"boundary": -1}]
)
def test_parameters_out_of_range_are_refused(terms: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(terms))):
        LossSettings(**terms)
