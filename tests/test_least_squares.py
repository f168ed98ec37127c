"""Moving least squares against the paper's formulas, what they must reproduce, and their limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

from overtile.augment import Augmentation, context_size, elastic_std
from overtile.augment.leastsquares import (
    bend,
    between,
    control_points,
    displacement,
    even_places,
    lattice,
)
from overtile.errors import SettingsError
from overtile.settings import AugmentSettings, Settings, from_yaml

Array = NDArray[np.float64]
PLANAR = ["mls-affine", "mls-similarity", "mls-rigid"]
ONES = np.ones(2)


def points_and_moves(seed: int, axes: int = 2, count: int = 8) -> tuple[Array, Array, Array]:
    """Places, control points and moves, all drawn, in a window of about 100 px."""
    random = np.random.default_rng(seed)
    places, points = (random.uniform(-50, 50, (number, axes)) for number in (30, count))
    return places, points, random.normal(0, 6, points.shape)


def paper(v: Array, p: Array, q: Array, kind: str) -> Array:
    """Where a place goes, by the equations as they are printed, with row vectors and alpha = 1."""
    w = np.array([1 / ((pi - v) ** 2).sum() for pi in p])
    p_star = sum(wi * pi for wi, pi in zip(w, p, strict=True)) / w.sum()
    q_star = sum(wi * qi for wi, qi in zip(w, q, strict=True)) / w.sum()
    p_hat, q_hat, arm = p - p_star, q - q_star, v - p_star
    triples = list(zip(w, p_hat, q_hat, strict=True))
    if kind == "mls-affine":  # equation 5
        left = sum(wi * np.outer(pi, pi) for wi, pi, _ in triples)
        right = sum(wi * np.outer(pi, qi) for wi, pi, qi in triples)
        return arm @ np.linalg.inv(left) @ right + q_star

    def across(a: Array) -> Array:
        return np.array([-a[1], a[0]])

    def a_of(wi: float, pi: Array) -> Array:  # equation 7
        return wi * np.stack([pi, -across(pi)]) @ np.stack([arm, -across(arm)]).T

    if kind == "mls-similarity":  # equation 6
        mu = sum(wi * pi @ pi for wi, pi, _ in triples)
        return sum(qi @ (a_of(wi, pi) / mu) for wi, pi, qi in triples) + q_star
    turned = sum(qi @ a_of(wi, pi) for wi, pi, qi in triples)  # equation 8
    return np.linalg.norm(arm) * turned / np.linalg.norm(turned) + q_star


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", PLANAR)
def test_it_is_the_papers_formula(kind: str, seed: int) -> None:
    places, points, moves = points_and_moves(seed)
    found = places + displacement(places, points, moves, kind, ONES)
    expected = [paper(place, points, points + moves, kind) for place in places]
    assert np.allclose(found, expected, atol=1e-8)


def test_a_volume_is_bent_by_the_papers_formula() -> None:
    places, points, moves = points_and_moves(0, axes=3, count=12)
    found = places + displacement(places, points, moves, "mls-affine", np.ones(3))
    expected = [paper(place, points, points + moves, "mls-affine") for place in places]
    assert np.allclose(found, expected, atol=1e-8)


def test_distances_are_in_sides() -> None:
    """As the paper's in a window stretched to a cube, whose affine maps are the same."""
    sides = np.array([3.0, 1.0, 0.2])
    places, points, moves = points_and_moves(0, axes=3, count=12)
    found = displacement(places * sides, points * sides, moves * sides, "mls-affine", sides)
    assert np.allclose(found, displacement(places, points, moves, "mls-affine", 1) * sides)


@given(st.sampled_from([*PLANAR, "volume"]), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_unmoved_points_move_nothing_and_moved_ones_themselves(kind: str, seed: int) -> None:
    kind, axes = ("mls-affine", 3) if kind == "volume" else (kind, 2)
    places, points, moves = points_and_moves(seed, axes)
    still = displacement(places, points, 0 * moves, kind, np.full(axes, 100.0))
    assert np.abs(still).max() < 1e-10
    at_points = displacement(points, points, moves, kind, np.full(axes, 100.0))
    assert np.allclose(at_points, moves, atol=1e-4)


@given(st.sampled_from([*PLANAR, "volume"]), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_map_of_the_kind_is_reproduced(kind: str, seed: int) -> None:
    """Affine ones by the affine, similar ones by the similar, turns and shifts by all."""
    kind, axes = ("mls-affine", 3) if kind == "volume" else (kind, 2)
    places, points, _ = points_and_moves(seed, axes)
    random = np.random.default_rng(seed)
    linear = np.eye(axes) + random.uniform(-0.4, 0.4, (axes, axes))
    if kind != "mls-affine":
        angle = random.uniform(-3, 3)
        zoom = random.uniform(0.5, 2) if kind == "mls-similarity" else 1
        linear = zoom * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    shift = random.uniform(-20, 20, axes)
    moves = points @ linear + shift - points
    found = places + displacement(places, points, moves, kind, np.ones(axes))
    assert np.allclose(found, places @ linear + shift, atol=1e-6)


# ── on the lattice of a window ────────────────────────────────────────────────────────────────


def set_to(kind: str, points: str = "even", **changes: float) -> AugmentSettings:
    return AugmentSettings(deform=1, deformation=kind, control_points=points, **changes)


def drawn(chosen: AugmentSettings, sides: tuple[int, ...], seed: int) -> tuple[Array, Array]:
    """Control points, and moves of the size that is allowed."""
    random = np.random.default_rng(seed)
    points = control_points(chosen, sides, random)
    limit = 2 * np.array(elastic_std(chosen, sides)[::-1])
    return points, limit * random.uniform(-1, 1, points.shape)


@pytest.mark.parametrize(
    ("kind", "points", "sides", "most"),
    [
        *((kind, "even", (256, 256), 0.005) for kind in PLANAR),
        *((kind, "random", (256, 200), 0.02) for kind in PLANAR),
        ("mls-affine", "even", (16, 96, 96), 0.06),
        ("mls-affine", "random", (48, 48, 48), 0.18),
    ],
)
def test_linear_between_nodes_is_near_enough(
    kind: str, points: str, sides: tuple[int, ...], most: float
) -> None:
    """The error against the full solution, in parts of the largest move: most by control points."""
    chosen, axes, random = set_to(kind, points), len(sides), np.random.default_rng(0)
    count, lengths = lattice(chosen, axes), np.array(sides[::-1], float) - 1
    nodes, lines = even_places(sides, count), [np.linspace(-1, 1, count) * n / 2 for n in lengths]
    for seed in range(3):
        p, moves = drawn(chosen, sides, seed)
        near = p.repeat(60, axis=0) + lengths / count * random.uniform(-2, 2, (60 * len(p), axes))
        places = np.clip(near, -lengths / 2, lengths / 2)
        on_nodes = displacement(nodes, p, moves, kind, lengths).reshape(*[count] * axes, axes)
        linear = RegularGridInterpolator(lines[::-1], on_nodes)(places[:, ::-1])
        error = np.abs(linear - displacement(places, p, moves, kind, lengths))
        assert most / 5 <= error.max() / np.abs(moves).max() <= most


@given(
    st.sampled_from([*PLANAR, "volume"]),
    st.sampled_from(["even", "random"]),
    st.lists(st.integers(1, 90), min_size=3, max_size=3),
    st.floats(0.1, 300),
    st.integers(2, 3),
    st.integers(0, 10**6),
)
@settings(max_examples=25, deadline=None)
def test_nothing_folds_and_nothing_moves_too_far(
    kind: str, points: str, sides: list[int], std: float, grid: int, seed: int
) -> None:
    """The Jacobian stays positive at every pixel; no component is above two deviations."""
    kind, axes = ("mls-affine", 3) if kind == "volume" else (kind, 2)
    size = tuple(min(side, 20) for side in sides) if axes == 3 else tuple(sides[:2])
    chosen = set_to(kind, points, elastic_std_px=std, elastic_grid=grid)
    p, moves = drawn(chosen, size, seed)
    limits = 2 * np.array(elastic_std(chosen, size)[::-1])
    # Every control point at its limit, as far as can be drawn.
    for tried in (moves, np.sign(moves) * limits):
        field = bend(chosen, size, p, tried)
        assert (np.abs(field).reshape(axes, -1).max(axis=1) <= limits * (1 + 1e-12)).all()
        for axis, side in enumerate(size, start=1):
            matrix = between(field.shape[axis], side)
            field = np.moveaxis(np.tensordot(matrix, field, (1, axis)), 0, axis)
        if min(size) > 1:
            slopes = np.stack(np.gradient(field, axis=tuple(range(1, axes + 1))), axis=1)
            jacobian = np.eye(axes) + np.moveaxis(slopes[:, ::-1], (0, 1), (-2, -1))
            assert np.linalg.det(jacobian).min() > 0


def test_small_moves_are_not_made_smaller() -> None:
    """What does not fold is the deformation itself, at every node."""
    for kind in PLANAR:
        chosen, sides = set_to(kind), (256, 256)
        p, moves = drawn(chosen, sides, 0)
        nodes = even_places(sides, lattice(chosen, 2))
        full = displacement(nodes, p, moves, kind, np.full(2, 255.0)).T.reshape(2, 65, 65)
        most = np.abs(moves).max(axis=0)[:, None, None]
        assert np.allclose(bend(chosen, sides, p, moves), np.clip(full, -most, most))


@given(
    st.sampled_from(PLANAR),
    st.sampled_from(["even", "random"]),
    st.lists(st.integers(2, 120), min_size=2, max_size=2),
    st.floats(0, 1),
    st.booleans(),
    st.floats(0, 30),
    st.integers(0, 10**9),
)
@settings(max_examples=25, deadline=None)
def test_a_window_never_leaves_its_slab(
    kind: str, points: str, sides: list[int], scale: float, rotate: bool, std: float, seed: int
) -> None:
    chosen = set_to(kind, points, scale=scale, rotate=rotate, elastic_std_px=std)
    act, slab_px = Augmentation(chosen, sides), context_size(chosen, sides)
    places = act._grid(act._draw(torch.tensor([seed])), slab_px, torch.device("cpu"))
    half = (torch.tensor(slab_px[::-1]) - 1) / 2
    # The bicubic kernel reads two pixels to each side.
    assert ((places * half).abs() <= half - 2 + 1e-3).all()


@pytest.mark.parametrize("kind", PLANAR)
def test_the_bound_is_reached(kind: str) -> None:
    """All control points shifted as far as can be: the window needs the slab that it has."""
    chosen, sides = set_to(kind, scale=0, rotate=False), (101, 61)
    points = even_places(sides, 3)
    limits = 2 * np.array(elastic_std(chosen, sides)[::-1])
    field = bend(chosen, sides, points, np.broadcast_to(limits, points.shape))
    assert np.allclose(field, limits[:, None, None])
    reach = (np.array(sides) - 1) / 2 + limits[::-1] + 2
    slab = (np.array(context_size(chosen, sides)) - 1) / 2
    assert (slab >= reach).all()
    assert (slab <= reach + 2).all()


def test_other_changes_stay_as_they_were() -> None:
    """The same seed turns, zooms, flips and colours a window alike, however it bends."""
    sides, seeds = (40, 40), torch.arange(5)
    of_grid = Augmentation(AugmentSettings(), sides)._draw(seeds)
    for kind in PLANAR:
        for points in ("even", "random"):
            chosen = set_to(kind, points).model_copy(update={"deform": 0.5})
            found = Augmentation(chosen, sides)._draw(seeds)
            for name in ("linear", "gain", "offset", "gamma", "noise"):
                assert torch.equal(getattr(found, name), getattr(of_grid, name))
            bent, also = (each.displacement.flatten(1).any(1) for each in (found, of_grid))
            assert torch.equal(bent, also)


@pytest.mark.parametrize(("kind", "sides"), [("mls-rigid", (64, 64)), ("mls-affine", (8, 32, 32))])
def test_image_label_and_weight_move_together(kind: str, sides: tuple[int, ...]) -> None:
    chosen = set_to(kind, gain=0, offset=0, gamma=0, noise=0)
    slab_px = context_size(chosen, sides)
    ramp = torch.arange(slab_px[-1] * 1.0).expand(1, *slab_px)
    image, labels, weights = Augmentation(chosen, sides)(
        ramp[None], ramp.long(), ramp, torch.tensor([4])
    )
    assert (image[:, 0] - labels).abs().max() <= 0.55
    assert torch.equal(labels.float(), weights)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("augment: {deformation: mls-rigid, elastic_grid: 9}", "is too fine for mls-rigid"),
        ("augment: {control_points: random}", "deformation 'grid' needs them even"),
        ("network: {name: unet3d}\naugment: {deformation: mls-rigid}", "mls-rigid is for planes"),
        ("augment: {deformation: mls}", "augment.deformation"),
    ],
)
def test_clashes_are_said(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        from_yaml(Settings, text, "settings.yaml")
