"""One resampling: what it moves together, what it never leaves, that nothing folds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage, stats
from scipy.interpolate import CubicSpline

from overtile.augment import Augmentation, context_size, elastic_std
from overtile.augment.drawing import Drawn
from overtile.settings import AugmentSettings

STILL = AugmentSettings(
    flip=False,
    deform=0,
    rotate=False,
    recolour=1,
    gain=0,
    offset=0,
    gamma=0,
    noise=0,
    elastic_std_px=0,
)


def slab(
    size: int, batch: int = 2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(batch, 1, size, size, generator=random)
    target = torch.randint(-1, 4, (batch, size, size), generator=random)
    return image, target, torch.rand(batch, size, size, generator=random), torch.arange(batch)


def square(side: int) -> tuple[int, int]:
    return side, side


def with_(**changes: object) -> AugmentSettings:
    return STILL.model_copy(update=changes)


@pytest.mark.parametrize(("size", "window", "margin"), [(40, 20, 0), (41, 21, 3), (30, 30, 4)])
def test_without_changes_it_is_the_middle(size: int, window: int, margin: int) -> None:
    image, target, weight, seeds = slab(size)
    got, labels, weights = Augmentation(STILL, square(window), square(margin))(
        image, target, weight, seeds
    )
    low = (size - window) // 2
    inside, inner = slice(low, low + window), slice(low + margin, low + window - margin)
    assert torch.allclose(got, image[..., inside, inside], atol=1e-4)
    assert torch.equal(labels, target[:, inner, inner])
    assert torch.equal(weights, weight[:, inner, inner])


def test_flips_and_quarter_turns_keep_every_pixel() -> None:
    """All eight symmetries of the square occur, and nothing else."""
    image, target, weight, _ = slab(32, 1)
    seen = set()
    for seed in range(60):
        act = Augmentation(with_(flip=True, rotate=True), square(32))
        got, labels, weights = act(image, target, weight, torch.tensor([seed]))
        found = [
            (turns, flip)
            for turns in range(4)
            for flip in (False, True)
            if torch.equal(labels, _symmetry(target, turns, flip))
        ]
        assert len(found) == 1
        assert torch.equal(weights, _symmetry(weight, *found[0]))
        assert torch.allclose(got, _symmetry(image, *found[0]), atol=1e-4)
        seen.add(found[0])
    assert len(seen) == 8


def _symmetry(pixels: torch.Tensor, turns: int, flip: bool) -> torch.Tensor:
    turned = torch.rot90(pixels, turns, (-2, -1))
    return turned.flip(-1) if flip else turned


def test_image_label_and_weight_move_together() -> None:
    """Where all three show the same ramp, they show it after any deformation."""
    chosen = AugmentSettings(deform=1, gain=0, offset=0, gamma=0, noise=0)
    size, _ = context_size(chosen, square(64))
    ramp = torch.arange(size * 1.0).expand(1, size, size) + torch.arange(size * 1.0)[:, None] * 3
    act = Augmentation(chosen, square(64), square(8))
    image, labels, weights = act(ramp[None], ramp.long(), ramp, torch.tensor([4]))
    inner = image[:, 0, 8:-8, 8:-8]
    # The nearest pixel is at most half a pixel away along each axis: 0.5 + 1.5 on this ramp.
    assert (inner - labels).abs().max() <= 2.05
    assert torch.equal(labels.float(), weights)


@given(
    st.integers(8, 300),
    st.floats(0, 1),
    st.booleans(),
    st.floats(0, 30),
    st.integers(2, 6),
    st.integers(0, 10**9),
)
@settings(max_examples=60, deadline=None)
def test_a_window_never_leaves_its_slab(
    window: int, scale: float, rotate: bool, std: float, grid: int, seed: int
) -> None:
    chosen = AugmentSettings(
        deform=1, scale=scale, rotate=rotate, elastic_std_px=std, elastic_grid=grid
    )
    size, _ = context_size(chosen, square(window))
    assert (size - window) % 2 == 0
    act = Augmentation(chosen, square(window))
    places = act._grid(act._draw(torch.tensor([seed, seed + 1])), square(size), torch.device("cpu"))
    assert places.abs().max() <= 1


@given(st.integers(8, 100), st.floats(0, 1), st.booleans(), st.floats(0, 30), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_the_worst_that_can_be_drawn_stays_inside(
    window: int, scale: float, rotate: bool, std: float, grid: int
) -> None:
    """Every knot at its limit, with the signs that reach farthest, an eighth of a turn, zoomed."""
    chosen = AugmentSettings(
        deform=1, scale=scale, rotate=rotate, elastic_std_px=std, elastic_grid=grid
    )
    act, (size, _) = Augmentation(chosen, square(window)), context_size(chosen, square(window))
    # One pattern of signs for each row of the spline: it makes every term of that row positive.
    signs = torch.where(act.splines[0] < 0, -1.0, 1.0)
    knots = 2 * act.stds_px[0] * signs[:, :, None] * signs[:, None]
    eighth = torch.tensor([[1.0, 1.0], [-1.0, 1.0]]) / 2**0.5 if rotate else torch.eye(2)
    linear = (float(np.exp(scale)) * eighth).expand(window, 2, 2)
    none = torch.zeros(window)
    drawn = Drawn(linear, torch.stack([knots, knots], 1), *[none] * 7)
    places = act._grid(drawn, square(size), torch.device("cpu")) * (size - 1) / 2
    # The bicubic kernel reads two pixels to each side.
    assert places.abs().max() <= (size - 1) / 2 - 2 + 1e-3  # float32


def test_without_deformation_no_context_is_needed() -> None:
    assert context_size(AugmentSettings(deform=0), (12, 256)) == (12, 256)


def test_displacements_are_a_truncated_normal() -> None:
    act = Augmentation(with_(deform=1, elastic_std_px=10), square(572))
    values = act._draw(torch.arange(2000)).displacement.flatten().double().numpy() / 10
    assert stats.kstest(values, stats.truncnorm(-2, 2).cdf).pvalue > 1e-3


def test_labels_are_scipys_at_the_same_places() -> None:
    """Displaced by a spline through the knots, then turned and scaled: all done once more."""
    chosen = AugmentSettings(deform=1)
    window, (size, _) = 48, context_size(chosen, square(48))
    image, target, weight, _ = slab(size, 1)
    act, seeds = Augmentation(chosen, square(window)), torch.tensor([3])
    drawn = act._draw(seeds)
    knots, line = np.linspace(0, window - 1, 3), np.arange(window)
    bent = drawn.displacement[0].double().numpy()
    for axis in (1, 2):
        bent = CubicSpline(knots, bent, axis=axis, bc_type="natural")(line)
    x, y = bent + np.stack(np.meshgrid(line, line)) - (window - 1) / 2
    (xx, xy), (yx, yy) = drawn.linear[0].double().numpy()
    rows, columns = (part + (size - 1) / 2 for part in (yx * x + yy * y, xx * x + xy * y))
    expected = ndimage.map_coordinates(target[0].numpy(), [rows, columns], order=0)
    _, labels, _ = act(image, target, weight, seeds)
    # They may differ only where a place is as near to two pixels as float32 can tell.
    tie = np.minimum(np.abs(rows % 1 - 0.5), np.abs(columns % 1 - 0.5)) < 1e-3
    assert tie.mean() < 0.02
    assert np.array_equal(labels[0].numpy()[~tie], expected[~tie])


def test_lower_precision_around_it_moves_nothing() -> None:
    chosen = AugmentSettings(deform=1)
    act = Augmentation(chosen, square(64))
    drawn, (size, _) = act._draw(torch.arange(8)), context_size(chosen, square(64))
    expected = act._grid(drawn, square(size), torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        places = act._grid(drawn, square(size), torch.device("cpu"))
    assert torch.equal(places, expected)


@pytest.mark.parametrize("window", [8, 32, 128, 512])
@pytest.mark.parametrize("grid", [2, 3, 5])
def test_nothing_folds(window: int, grid: int) -> None:
    """The Jacobian stays positive at every pixel, for displacements as large as allowed."""
    chosen = with_(deform=1, scale=0, elastic_std_px=1000, elastic_grid=grid)
    assert max(elastic_std(chosen, square(window))) < 1000
    act = Augmentation(chosen, square(window))
    drawn = act._draw(torch.arange(40))
    extreme = drawn.displacement.sign() * 2 * act.stds_px[0]  # every knot at its limit
    for displacement in (drawn.displacement, extreme):
        field = act._bend(displacement).double().numpy()
        along_y, along_x = np.gradient(field, axis=(2, 3))
        jacobian = (1 + along_x[:, 0]) * (1 + along_y[:, 1]) - along_y[:, 0] * along_x[:, 1]
        assert jacobian.min() > 0


def test_the_papers_deviation_where_there_is_room() -> None:
    paper = AugmentSettings(elastic_std_px=10)
    assert elastic_std(paper, square(572)) == (10, 10)
    act = Augmentation(with_(deform=1, elastic_std_px=10), square(572))
    values = act._draw(torch.arange(200)).displacement
    # A normal distribution cut at two deviations has a deviation of 0.88, folded back a bit less.
    assert 0.75 * 10 < values.std() < 10
    assert values.abs().max() <= 20


def test_a_window_is_a_function_of_its_seed() -> None:
    chosen = AugmentSettings()
    image, target, weight, _ = slab(context_size(chosen, square(32))[0], 3)
    act = Augmentation(chosen, square(32))
    together = act(image, target, weight, torch.tensor([5, 6, 7]))
    alone = act(image[1:2], target[1:2], weight[1:2], torch.tensor([6]))
    for batch, single in zip(together, alone, strict=True):
        assert torch.allclose(batch[1], single[0], atol=1e-6)
    other = act(image[1:2], target[1:2], weight[1:2], torch.tensor([8]))
    assert not torch.equal(alone[0], other[0])


def test_gray_values_change_on_the_image_alone() -> None:
    image, target, weight, seeds = slab(32)
    for changes in ({"gain": 0.5}, {"offset": 0.5}, {"gamma": 0.5}, {"noise": 0.5}):
        got, labels, weights = Augmentation(with_(**changes), square(32))(
            image, target, weight, seeds
        )
        assert not torch.allclose(got, image, atol=1e-2), changes
        assert torch.equal(labels, target)
        assert torch.equal(weights, weight)
        if changes.keys() != {"noise"}:  # all others keep the order of intensities
            order = image[0].flatten().argsort()
            assert (got[0].flatten()[order].diff() >= -1e-3).all(), changes


def test_channels_change_colour_by_themselves() -> None:
    """Each by a line of its own, within what was set; a single channel stays as it is."""
    image, target, weight, seeds = slab(32)
    colourful = Augmentation(with_(colour=0.4), square(32))
    still = Augmentation(STILL, square(32))
    plain = still(image, target, weight, seeds)[0]
    assert torch.equal(colourful(image, target, weight, seeds)[0], plain)
    channels = torch.cat([image, 2 * image, image.flip(-1)], dim=1)
    got, labels, _ = colourful(channels, target, weight, seeds)
    assert torch.equal(labels, still(channels, target, weight, seeds)[1])
    straight, lines = still(channels, target, weight, seeds)[0], []
    for before, after in zip(straight.flatten(0, 1), got.flatten(0, 1), strict=True):
        slope, start = np.polyfit(before.flatten(), after.flatten(), 1)
        assert np.allclose(after, slope * before + start, atol=1e-4)
        assert abs(np.log(slope)) <= 0.4 + 1e-4
        assert abs(start) <= 0.4 + 1e-4
        lines.append((slope, start))
    assert len(np.unique(np.round(lines, 3))) == 12


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_windows_changes_gray_values(share: float) -> None:
    """The others keep theirs to the bit, and those that change do so as if all did."""
    image, target, weight, seeds = slab(16, batch=400)
    image = torch.cat([image, image.flip(-1)], dim=1)
    changes = {"gain": 0.5, "offset": 0.5, "gamma": 0.5, "noise": 0.5, "colour": 0.5}
    still, every, some = (
        Augmentation(with_(**given), square(16))(image, target, weight, seeds)[0]
        for given in ({}, changes, {**changes, "recolour": share})
    )
    kept = (some == still).flatten(1).all(dim=1)
    assert torch.equal(some[~kept], every[~kept])
    assert (
        abs(float((~kept).float().mean()) - share) < 4 * (share * (1 - share) / 400) ** 0.5 + 1e-9
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_windows_turns_gray_and_another_is_turned_round(share: float) -> None:
    """Channels become their mean, bright becomes dark, each of the two drawn by itself."""
    image, target, weight, seeds = slab(16, batch=400)
    image = torch.cat([image, image.flip(-1), 2 * image], dim=1)
    still, gray, dark, both = (
        Augmentation(with_(**given), square(16))(image, target, weight, seeds)
        for given in (
            {},
            {"grayscale": share},
            {"invert": share},
            {"grayscale": share, "invert": share},
        )
    )
    before, mean = still[0], still[0].mean(dim=1, keepdim=True).expand_as(still[0])
    grayed = (gray[0] == mean).flatten(1).all(dim=1)
    inverted = (dark[0] == -before).flatten(1).all(dim=1)
    assert torch.equal(gray[0][~grayed], before[~grayed])
    assert torch.equal(dark[0][~inverted], before[~inverted])
    aside = (-1, 1, 1, 1)
    expected = torch.where(grayed.view(aside), mean, before)
    assert torch.equal(both[0], torch.where(inverted.view(aside), -expected, expected))
    for chosen in (grayed, inverted):
        most = 4 * (share * (1 - share) / 400) ** 0.5 + 1e-9
        assert abs(float(chosen.float().mean()) - share) < most
    if 0 < share < 1:
        assert not torch.equal(grayed, inverted)
    for changed in (gray, dark, both):
        assert all(map(torch.equal, changed[1:], still[1:]))


def test_a_constant_window_stays_finite() -> None:
    _, target, weight, seeds = slab(32)
    got, _, _ = Augmentation(AugmentSettings(), square(16))(
        torch.zeros(2, 1, 32, 32), target, weight, seeds
    )
    assert got.isfinite().all()


def test_unlabelled_stays_unlabelled() -> None:
    chosen = AugmentSettings(deform=1)
    image, target, weight, seeds = slab(context_size(chosen, square(32))[0])
    act = Augmentation(chosen, square(32))
    _, labels, weights = act(image, target, weight * (target >= 0), seeds)
    assert ((labels == -1) | (weights > 0)).all()
    assert (weights[labels == -1] == 0).all()


# ── volumes, by the same code ─────────────────────────────────────────────────────────────────

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def block(sides: tuple[int, ...], batch: int = 1) -> Batch:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(batch, 1, *sides, generator=random)
    target = torch.randint(-1, 4, (batch, *sides), generator=random)
    return image, target, torch.rand(batch, *sides, generator=random), torch.arange(batch)


def test_without_changes_a_volume_is_its_middle() -> None:
    image, target, weight, seeds = block((12, 21, 18), 2)
    got, labels, weights = Augmentation(STILL, (8, 13, 10), (1, 2, 0))(image, target, weight, seeds)
    assert torch.allclose(got, image[..., 2:10, 4:17, 4:14], atol=1e-4)
    assert torch.equal(labels, target[:, 3:9, 6:15, 4:14])
    assert torch.equal(weights, weight[:, 3:9, 6:15, 4:14])


@pytest.mark.parametrize(("sides", "turns"), [((6, 9, 9), (0, 1, 2, 3)), ((6, 8, 10), (0, 2))])
def test_flips_and_turns_keep_every_voxel(sides: tuple[int, ...], turns: tuple[int, ...]) -> None:
    """Flips of three axes and turns in the plane y-x: quarters of squares, halves of oblongs."""
    image, target, weight, _ = block(sides)
    flips = [[], [-1], [-3], [-1, -3]]  # a flip of y is one of x after a half turn
    seen = set()
    for seed in range(120):
        act = Augmentation(with_(flip=True, rotate=True), sides)
        got, labels, weights = act(image, target, weight, torch.tensor([seed]))
        found = [
            (turn, number)
            for turn in turns
            for number, flip in enumerate(flips)
            if torch.equal(labels, torch.rot90(target, turn, (-2, -1)).flip(flip))
        ]
        assert len(found) == 1
        turn, number = found[0]
        assert torch.equal(weights, torch.rot90(weight, turn, (-2, -1)).flip(flips[number]))
        same = torch.rot90(image, turn, (-2, -1)).flip(flips[number])
        assert torch.allclose(got, same, atol=1e-4)
        seen.add(found[0])
    assert len(seen) == 4 * len(turns)


def test_two_flips_are_none() -> None:
    image, target, weight, _ = block((4, 6, 6))
    act = Augmentation(with_(flip=True), (4, 6, 6))
    for seed in range(8):
        once = act(image, target, weight, torch.tensor([seed]))
        _, labels, weights = act(*once, torch.tensor([seed]))
        assert torch.equal(labels, target)
        assert torch.equal(weights, weight)


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=3),
    st.floats(0, 1),
    st.booleans(),
    st.floats(0, 30),
    st.integers(2, 4),
)
@settings(max_examples=40, deadline=None)
def test_no_oblong_window_leaves_its_slab(
    sides: list[int], scale: float, rotate: bool, std: float, grid: int
) -> None:
    """Every knot at its limit, with the signs that reach farthest, turned, zoomed."""
    chosen = AugmentSettings(
        deform=1, scale=scale, rotate=rotate, elastic_std_px=std, elastic_grid=grid
    )
    act, slab_px = Augmentation(chosen, sides), context_size(chosen, sides)
    axes, parts = len(sides), 9
    # Along the diagonal of the window: the signs that make every term of the splines positive.
    knots = torch.zeros(parts, axes, *[grid] * axes)
    for part in range(parts):
        signs = torch.ones(())
        for spline in act.splines:
            row = spline[part * (len(spline) - 1) // (parts - 1)]
            signs = signs[..., None] * torch.where(row < 0, -1.0, 1.0)
        for axis, limit in enumerate(reversed(act.stds_px)):
            knots[part, axis] = 2 * limit * signs
    none = torch.zeros(parts)
    for angle in np.linspace(0, np.pi, 13) if rotate else [0.0]:
        turn = np.eye(axes)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        linear = torch.from_numpy(np.exp(scale) * turn).float().expand(parts, axes, axes)
        drawn = Drawn(linear, knots, *[none] * 7)
        half = (torch.tensor(slab_px[::-1]) - 1) / 2
        places = act._grid(drawn, slab_px, torch.device("cpu")) * half
        # The bicubic kernel reads two pixels to each side.
        assert (places.abs() <= half - 2 + 1e-3).all()


@pytest.mark.parametrize("sides", [(8, 8, 8), (5, 40, 24), (16, 96, 96)])
def test_no_volume_folds(sides: tuple[int, int, int]) -> None:
    """The Jacobian stays positive at every voxel, for displacements as large as allowed."""
    chosen = with_(deform=1, scale=0, elastic_std_px=1000)
    act = Augmentation(chosen, sides)
    assert act.stds_px[0] < act.stds_px[1] or len(set(sides)) == 1
    drawn = act._draw(torch.arange(6))
    limits = 2 * torch.tensor(act.stds_px[::-1]).reshape(3, 1, 1, 1)
    for knots in (drawn.displacement, drawn.displacement.sign() * limits):
        bend = act._bend(knots).double().numpy()
        # Of x, y, z along z, y, x.
        slopes = np.stack(np.gradient(bend, axis=(2, 3, 4)), axis=2)[:, :, ::-1]
        jacobian = np.eye(3) + np.moveaxis(slopes, (1, 2), (-2, -1))
        assert np.linalg.det(jacobian).min() > 0


def in_scipy(act: Augmentation, seed: int, slab_px: tuple[int, ...]) -> NDArray[np.float64]:
    """Where each voxel of a window lies in its slab, (z y x): all done once more."""
    drawn = act._draw(torch.tensor([seed]))
    bent = drawn.displacement[0].double().numpy()
    lines = [np.arange(side, dtype=float) for side in act.sides_px]
    for axis, line in enumerate(lines, start=1):
        knots = np.linspace(0, line[-1], bent.shape[axis])
        bent = CubicSpline(knots, bent, axis=axis, bc_type="natural")(line)
    centred = [line - line[-1] / 2 for line in lines]
    places = bent + np.stack(np.meshgrid(*centred, indexing="ij"))[::-1]
    moved = np.tensordot(drawn.linear[0].double().numpy(), places, 1)[::-1]
    return moved + (np.array(slab_px)[:, None, None, None] - 1) / 2


def test_volumes_are_scipys_at_the_same_places() -> None:
    """Labels from the nearest voxel, images linear between them; turned in the plane y-x alone."""
    sides = (8, 24, 20)
    chosen = AugmentSettings(deform=1, gain=0, offset=0, gamma=0, noise=0)
    slab_px = context_size(chosen, sides)
    image, target, weight, _ = block(slab_px)
    act = Augmentation(chosen, sides)
    for seed in range(3):
        places = in_scipy(act, seed, slab_px)
        got, labels, weights = act(image, target, weight, torch.tensor([seed]))
        linear = ndimage.map_coordinates(image[0, 0].numpy(), places, order=1)
        assert np.abs(got[0, 0].numpy() - linear).max() < 1e-3
        # They may differ only where a place is as near to two voxels as float32 can tell.
        tie = (np.abs(places % 1 - 0.5) < 1e-3).any(axis=0)
        assert tie.mean() < 0.02
        for found, given_ in ((labels, target), (weights, weight)):
            nearest = ndimage.map_coordinates(given_[0].numpy(), places, order=0)
            assert np.array_equal(found[0].numpy()[~tie], nearest[~tie])


def test_volume_label_and_weight_move_together() -> None:
    """Every voxel names its label: where they do not border on others, both still do."""
    sides = (12, 32, 32)
    chosen = AugmentSettings(deform=1, gain=0, offset=0, gamma=0, noise=0)
    slab_px = context_size(chosen, sides)
    blocks = [np.arange(-(-side // 6)) for side in slab_px]
    names = blocks[0][:, None, None] * 400 + blocks[1][:, None] * 20 + blocks[2]
    names = np.kron(names, np.ones((6, 6, 6), int))[tuple(slice(side) for side in slab_px)]
    target = torch.from_numpy(names)[None]
    image, labels, weights = Augmentation(chosen, sides)(
        target.float()[None], target, target.float(), torch.tensor([4])
    )
    assert torch.equal(labels.float(), weights)
    found = labels[0].numpy()
    inner = ndimage.maximum_filter(found, 3) == ndimage.minimum_filter(found, 3)
    inner &= np.pad(np.ones([side - 2 for side in sides], bool), 1)
    assert inner.mean() > 0.1
    assert len(np.unique(found[inner])) > 20
    assert np.abs(image[0, 0].numpy() - found)[inner].max() < 0.5


def test_a_volume_of_one_plane_is_turned_in_it() -> None:
    """An axis of a single voxel has nothing to bend, and is found wherever it is sampled."""
    image, target, weight, seeds = block((1, 9, 9), 3)
    act = Augmentation(with_(flip=True, rotate=True), (1, 9, 9))
    got, labels, _ = act(image, target, weight, seeds)
    assert got.isfinite().all()
    for before, after in zip(target, labels, strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
