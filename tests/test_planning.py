"""What a plan chooses and why: rules on data and machines that are only described."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from fingerprints import like
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import overtile
from overtile import layouts, presets
from overtile.engines.assembly import turns_for
from overtile.errors import SettingsError
from overtile.fingerprint import Fingerprint
from overtile.networks import build
from overtile.planning import FINISH_S, Budget, Machine, Plan, fit, limits, steps_for
from overtile.planning import make_plan as plan_for
from overtile.planning.machine import fastest
from overtile.planning.memory import peak_mib
from overtile.planning.network import choose_width, widths_for
from overtile.planning.schedule import choose_averaging
from overtile.planning.speed import fit_to_time, predicted_step_s
from overtile.presets import RATES, Wanted, default_settings, paper_settings, read_settings
from overtile.settings import (
    LabelSettings,
    LossSettings,
    NamedClass,
    Settings,
    UNetSettings,
    WindowSettings,
    dotted_names,
    from_yaml,
    to_explained_yaml,
)
from overtile.settings.networks import ConvolutionSettings

LAPTOP = Machine("cpu", "a laptop", 2, 8000, "float32")


class Speed:
    """A machine on which a step takes a time that is known: the square of the width, and no less.

    Twice that where each pixel is taken by itself.

    Attributes
    ----------
    asked
        What was timed.
    """

    def __init__(self, window_s: float, load_s: float = 0.0) -> None:
        self.window_s, self._load_s = window_s, load_s
        self.asked: list[Settings] = []

    def step_s(self, settings: Settings, enough_s: float = 0.0) -> float:  # noqa: ARG002
        self.asked.append(settings)
        slow = (settings.precision == "bfloat16") + (settings.layout == "contiguous")
        return self.exactly(settings) * (1 + slow)

    def exactly(self, settings: Settings) -> float:
        width = getattr(settings.network, "base_channels", 32)
        network = settings.network
        fine = 1 + (network.dimensions == 2 and getattr(network, "stem", 2) == 1)
        return fine * self.window_s * (width / 32) ** 2 * settings.window.batch_size

    def load_s(self, settings: Settings) -> float:  # noqa: ARG002
        return self._load_s


def wanted(*kept: str, **changes: Any) -> Wanted:
    """The default preset with changes, by dotted names with _ for the dot; others are kept."""
    return Wanted(default_settings().model_copy(update=changes), frozenset(kept))


def make(
    fingerprint: Fingerprint | None = None,
    window_s: float = 0.25,
    chosen: Wanted | None = None,
    machine: Machine = LAPTOP,
    **budget: float,
) -> Plan:
    length = Budget(**(budget or {"minutes": 15}))  # type: ignore[arg-type]
    speed: Any = Speed(window_s)
    found = like() if fingerprint is None else fingerprint
    return plan_for(found, machine, length, chosen or wanted(), speed, time.monotonic())


class TestBudget:
    def test_it_is_exactly_one_thing(self) -> None:
        with pytest.raises(
            SettingsError, match="Expected one of minutes, steps and epochs, got none"
        ):
            Budget()
        with pytest.raises(SettingsError, match="got minutes and steps"):
            Budget(minutes=1, steps=1)
        with pytest.raises(SettingsError, match="steps is 0: give a number above 0"):
            Budget(steps=0)

    def test_steps_of_budgets(self) -> None:
        facts = {"step_s": 0.5, "elapsed_s": 6.0, "labelled_px": 1000, "step_px": 300}
        assert steps_for(Budget(steps=7), **facts) == 7  # type: ignore[arg-type]
        assert steps_for(Budget(epochs=2), **facts) == 7  # type: ignore[arg-type]  # 2000 / 300, up
        in_time = steps_for(Budget(minutes=1), **facts)  # type: ignore[arg-type]
        assert in_time * 0.5 + 6 + FINISH_S <= 60 < (in_time + 1) * 0.5 + 6 + FINISH_S
        with pytest.raises(SettingsError, match=r"0\.1 min are too short.*Give at least 0\.3"):
            steps_for(Budget(minutes=0.1), **facts)  # type: ignore[arg-type]


class TestTheUsual:
    def test_cells_in_a_quarter_of_an_hour_get_what_was_measured_best(self) -> None:
        """The preset's settings, and a network of full resolution (benchmarks/RESULTS.md)."""
        made, usual = make().settings, default_settings()
        fine = {"stem": 1, "depth": 4, "base_channels": 24}
        assert made.network == usual.network.model_copy(update=fine)
        assert made.window == usual.window
        assert made.pixel_weight == usual.pixel_weight
        assert made.optimiser == usual.optimiser
        assert made.loss == usual.loss
        assert made.augment == usual.augment.model_copy(update={"colour": 0.0})  # of one channel
        assert made.border == usual.border

    def test_every_setting_that_is_chosen_has_a_reason(self) -> None:
        plan = make()
        usual, made = default_settings().model_dump(), plan.settings.model_dump()
        for group, value in made.items():
            for key, inner in value.items() if isinstance(value, dict) else [("", value)]:
                before = usual[group][key] if key else usual[group]
                if inner != before:
                    assert plan.reasons[f"{group}.{key}".strip(".")].endswith(".")
        assert len(plan.reasons) >= 20
        assert all(len(reason) > 8 for reason in plan.reasons.values())

    def test_few_pixels_are_changed_more(self) -> None:
        """Three slices; not three volumes, of which that was not measured."""
        few = make(like(images=3, labelled_px=3 * 512 * 512))
        usual = default_settings().augment
        assert few.settings.augment == usual.model_copy(update={**limits.STRONGER, "colour": 0.0})
        assert "only 786,432 pixels are labelled" in few.reasons["augment.deform"]
        for name in limits.STRONGER:
            assert few.reasons[f"augment.{name}"]
            kept = make(like(labelled_px=9), chosen=wanted(f"augment.{name}")).settings.augment
            assert getattr(kept, name) == getattr(usual, name)
        solid = Wanted(default_settings("unet3d"), frozenset())
        volumes = make(like((40, 60, 50), labelled_px=9), chosen=solid, steps=5).settings.augment
        assert volumes.deform == usual.deform

    def test_few_pixels_are_predicted_as_the_mean_over_turns(self) -> None:
        small = like(images=3, labelled_px=3 * 512 * 512)
        few = make(small)
        assert few.settings.turns
        assert "Only 786,432 pixels" in few.reasons["turns"]
        assert "for 8 times the work" in few.reasons["turns"]
        assert not make().settings.turns
        assert "8 flips and turns (--turns)" in make().reasons["turns"]
        assert not make(small, chosen=wanted("turns")).settings.turns

    @pytest.mark.parametrize(
        ("axes", "augment", "many"),
        [
            (("y",), {}, 2),
            (("y", "x"), {}, 1),
            (("y",), {"flip": False}, 1),
            ((), {"flip": False}, 4),
            ((), {"flip": False, "rotate": False}, 1),
        ],
    )
    def test_only_turns_that_training_shows_are_averaged(
        self, axes: tuple[str, ...], augment: dict[str, Any], many: int
    ) -> None:
        """As many as the finished model averages, none where that would be an error."""
        few = like(labelled_px=9, directed=tuple((axis, "sky") for axis in axes))
        chosen = default_settings().augment.model_copy(update=augment)
        plan = make(few, chosen=wanted(*(f"augment.{name}" for name in augment), augment=chosen))
        assert plan.settings.turns == (many > 1)
        if many > 1:
            fields = build(plan.settings.network).fields
            assert len(turns_for(fields, [plan.settings.augment])) == many
            assert f"over {many} flips" in plan.reasons["turns"]
        else:
            assert "shows no flips and turns" in plan.reasons["turns"]
            asked = wanted("turns", *(f"augment.{name}" for name in augment), augment=chosen)
            asked = replace(asked, settings=asked.settings.model_copy(update={"turns": True}))
            with pytest.raises(SettingsError, match="leave none"):
                make(few, chosen=asked)

    def test_several_channels_change_colour(self) -> None:
        made = make(like(channels=3))
        assert made.settings.augment == default_settings().augment
        assert made.settings.augment.colour > 0
        assert "Each channel" in made.reasons["augment.colour"]

    def test_images_of_two_kinds_are_made_like_each_other(self) -> None:
        """Gray ones beside coloured ones, and dark foreground beside bright."""
        usual = default_settings().augment
        made = make(like(channels=3, gray=20, brighter=22, darker=2))
        told = {"grayscale": 0.5, "invert": 0.5}
        assert made.settings.augment == usual.model_copy(update=told)
        assert made.reasons["augment.grayscale"].startswith("20 of 24 images are gray")
        assert (
            "brighter than the rest in 22 images and darker in 2" in made.reasons["augment.invert"]
        )
        for alike in ({"gray": 24}, {"gray": 0}, {"darker": 24}, {"brighter": 23, "darker": 1}):
            assert make(like(channels=3, **alike)).settings.augment == usual, alike
        kept = make(
            like(channels=3, gray=20, brighter=12, darker=12),
            chosen=wanted("augment.grayscale", "augment.invert"),
        )
        assert kept.settings.augment == usual

    def test_single_windows_are_renormalised(self) -> None:
        """Whoever chose them, a person or the memory; and not what a person set otherwise."""
        single = WindowSettings(batch_size=1, accumulate=4)
        made = make(chosen=wanted("window.batch_size", "window.accumulate", window=single))
        assert made.settings.network.norm == "batch-renorm"
        assert "of single windows" in made.reasons["network.norm"]
        assert made.peak_mib == peak_mib(made.settings, "cpu")
        kept = make(chosen=wanted("window.batch_size", "network.norm", window=single))
        assert kept.settings.network.norm == "batch"
        pair = make(chosen=wanted("window.batch_size", window=WindowSettings(batch_size=2)))
        assert pair.settings.network.norm == "batch"
        grouped = default_settings().network.model_copy(update={"norm": "group"})
        other = make(chosen=wanted("window.batch_size", window=single, network=grouped))
        assert other.settings.network.norm == "group"

    def test_the_optimiser_and_its_rate_go_with_the_network(self) -> None:
        usual = make()
        assert usual.settings.optimiser.name == "muon"
        assert "Muon for kernels" in usual.reasons["optimiser.name"]
        bare = default_settings().network.model_copy(update={"norm": "none"})
        made = make(chosen=wanted("network", network=bare))
        assert made.settings.optimiser.name == "adamw"
        assert made.settings.optimiser.learning_rate == RATES["adamw"]
        sgd = default_settings().optimiser.model_copy(update={"name": "sgd"})
        made = make(chosen=wanted("optimiser.name", optimiser=sgd))
        assert made.reasons["optimiser.name"] == "As you set it."
        assert made.settings.optimiser.learning_rate == RATES["sgd"]
        kept = make(chosen=wanted("optimiser.learning_rate", network=bare))
        assert kept.settings.optimiser.learning_rate == RATES["muon"]  # which a person set

    def test_the_paper_is_left_as_it_is(self) -> None:
        paper = paper_settings()
        made = make(like((600, 600)), chosen=Wanted(paper, frozenset()), machine=large(), steps=5)
        measured = {"precision": "auto", "layout": "auto", "steps": None}
        assert made.settings.model_copy(update=measured) == paper
        assert made.reasons["optimiser.name"] == "As the preset paper has it."


def large(**changes: Any) -> Machine:
    return Machine(**(vars(LAPTOP) | {"free_mib": 10**6} | changes))


class TestKept:
    @pytest.mark.parametrize("size", [256, 64])
    def test_what_was_set_is_kept_even_where_it_is_the_presets(self, size: int) -> None:
        chosen = wanted("window.size_px", window=WindowSettings(size_px=size, batch_size=4))
        made = make(like((40, 50)), chosen=chosen)
        assert made.settings.window.size_px == size
        assert made.reasons["window.size_px"] == "As you set it."

    def test_a_group_is_kept_whole(self) -> None:
        made = make(window_s=50, chosen=wanted("network", "window"))
        assert made.settings.network == default_settings().network
        assert made.settings.window == default_settings().window

    def test_all_of_settings_are_kept(self) -> None:
        chosen = Settings(network=UNetSettings(padding="same", depth=2, base_channels=4))
        made = make(chosen=Wanted(chosen), steps=10).settings
        measured = {"precision": "auto", "layout": "auto", "steps": None}
        assert made.model_copy(update=measured) == chosen

    def test_what_has_no_rule_is_named_too(self) -> None:
        made = make(chosen=wanted("seed", "optimiser.weight_decay", seed=7))
        assert made.reasons["seed"] == made.reasons["optimiser.weight_decay"] == "As you set it."

    def test_settings_of_other_data_are_refused(self) -> None:
        network = UNetSettings(padding="same", channels=3, classes=5)
        with pytest.raises(
            SettingsError, match=r"network\.channels is 3, and the number of channels .* is 1"
        ):
            make(chosen=wanted("network.channels", network=network))
        with pytest.raises(SettingsError, match=r"network\.classes is 5.*made for other data"):
            make(chosen=wanted("network.classes", network=network))
        assert make(chosen=wanted(network=network)).settings.network.channels == 1


class TestWindow:
    SCENES: ClassVar[dict[str, Any]] = {
        "kind": "classes",
        "classes": tuple("abcd"),
        "class_px": (9,) * 4,
    }

    def test_scenes_have_many_small_windows_of_as_many_pixels(self) -> None:
        made = fit(like((500, 600), **self.SCENES), wanted())
        assert (made.settings.window.size_px, made.settings.window.batch_size) == (128, 16)
        assert "several classes" in made.reasons["window.size_px"]
        for others in ({}, self.SCENES | {"kind": "instances"}):
            usual = fit(like((500, 600), **others), wanted()).settings.window
            assert (usual.size_px, usual.batch_size) == (256, 4)

    def test_windows_of_scenes_that_were_set_keep_their_batch(self) -> None:
        for size in (512, 64):
            chosen = wanted("window.size_px", window=WindowSettings(size_px=size, batch_size=4))
            assert fit(like((600, 600), **self.SCENES), chosen).settings.window.batch_size == 4

    def test_valid_networks_keep_large_windows_of_scenes(self) -> None:
        """Their margins would be most of small ones."""
        chosen = wanted(network=UNetSettings(padding="valid", depth=3, base_channels=8))
        large = chosen.settings.model_copy(
            update={"window": WindowSettings(size_px=252, batch_size=4)}
        )
        made = fit(like((600, 600), **self.SCENES), Wanted(large, frozenset())).settings.window
        assert (made.size_px, made.batch_size) == (252, 4)

    def test_windows_shrink_to_small_images(self) -> None:
        five = {"classes": tuple("abcde"), "class_px": (9,) * 5, "channels": 3}
        small = fit(like((60, 90), (40, 33), **five), wanted()).settings
        assert (small.network.channels, small.network.classes) == (3, 5)
        assert small.window.size_px == 96
        assert fit(like((2000, 3000)), wanted()).settings.window == default_settings().window

    @pytest.mark.parametrize(
        ("shape", "sides"),
        [
            ((60, 256, 256), (48, 48, 48)),
            ((35, 50, 36), (40, 64, 40)),
            ((31, 61, 57), (32, 64, 64)),  # what z leaves goes to y and x
            ((5, 900, 900), (5, 160, 160)),
            ((5, 900, 20), (5, 912, 20)),
            ((5, 40, 20), (5, 40, 20)),
        ],
    )
    def test_windows_of_volumes(self, shape: tuple[int, ...], sides: tuple[int, ...]) -> None:
        """About twice the pixels of the window of planes, no side longer than the data need."""
        volumes = UNetSettings(dimensions=3, padding="same", base_channels=16, norm="batch")
        fitted = fit(like(shape), wanted(network=volumes)).settings
        assert fitted.window.size_px == sides
        assert fitted.window.batch_size == 2
        small = all(side < need + 16 for side, need in zip(sides, shape, strict=True))
        assert math.prod(sides) <= 2.4 * 256**2
        assert math.prod(sides) >= 1.6 * 256**2 or small

    def test_edges_leave_something_inside(self) -> None:
        volumes = UNetSettings(dimensions=3, padding="same", base_channels=16, norm="batch")
        edges = WindowSettings(size_px=256, edge_px=30)
        chosen = wanted("window.edge_px", network=volumes, window=edges)
        made = fit(like((20, 100, 300)), chosen).settings.window
        assert min(made.sides(3)) - 60 >= 4

    def test_a_window_the_network_cannot_take_is_refused(self) -> None:
        wrong = paper_settings().model_copy(update={"window": WindowSettings(size_px=570)})
        with pytest.raises(SettingsError, match="570 px"):
            fit(like((600, 600)), Wanted(wrong))

    @pytest.mark.parametrize(("side", "depth"), [(512, 3), (48, 3), (47, 2), (24, 2), (10, 1)])
    def test_small_images_are_pooled_less(self, side: int, depth: int) -> None:
        """At least three pixels are left of the largest image."""
        made = fit(like((side, side // 2)), wanted()).settings.network
        assert isinstance(made, ConvolutionSettings)
        assert made.depth == depth
        assert depth in (1, 3) or side // 2 >> depth >= 3 > side // 2 >> depth + 1

    def test_a_network_that_is_kept_may_be_too_deep(self) -> None:
        deep = UNetSettings(padding="same", depth=7)
        with pytest.raises(SettingsError, match=r"pools 128 px into one.*lower network\.depth"):
            fit(like((100, 90)), wanted("network", network=deep))


class TestObjective:
    def test_the_border_weight_is_for_objects_that_are_close(self) -> None:
        for close, weight in ((1950, 5.0), (40, 5.0), (39, 0.0), (0, 0.0)):
            draft = fit(like(close=close), wanted())
            assert draft.settings.pixel_weight.border_weight == weight
            assert f"{close} of 2000 objects" in draft.reasons["pixel_weight.border_weight"]

    @pytest.mark.parametrize(("objects", "words"), [(5, "several classes"), (0, "no objects")])
    def test_it_is_not_for_several_classes(self, objects: int, words: str) -> None:
        found = like(objects=objects, touching=None, close=None)
        draft = fit(found, wanted())
        assert draft.settings.pixel_weight.border_weight == 0
        assert words in draft.reasons["pixel_weight.border_weight"]

    def test_dice_joins_in_where_a_class_is_rare(self) -> None:
        names, count = ("background", "road", "house"), 10**6
        rare = like(classes=names, class_px=(950_000, 40_000, 10_000), labelled_px=count)
        draft = fit(rare, wanted())
        assert draft.settings.loss.dice == 1
        assert "house (1.00% of the pixels) and 1 more" in draft.reasons["loss.dice"]
        common = like(classes=names, class_px=(10_000, 500_000, 490_000), labelled_px=count)
        assert fit(common, wanted()).settings.loss.dice == 0  # a rare background is no object

    def test_frequencies_are_taken_out_where_no_class_is_background(self) -> None:
        scene = {"kind": "classes", "classes": tuple("abc"), "class_px": (9, 8, 7)}
        draft = fit(like(**scene, background=None), wanted())
        assert draft.settings.logit_adjustment == limits.ADJUSTMENT > 0
        assert "rare ones count like others" in draft.reasons["logit_adjustment"]
        two = {"classes": tuple("ab"), "class_px": (9, 8)}
        for other in ({"background": 0}, {"kind": "scribbles"}, {"kind": "multilabel"}, two):
            found = like(**(scene | {"background": None} | other))
            assert fit(found, wanted()).settings.logit_adjustment == 0
        kept = wanted("logit_adjustment", logit_adjustment=0.0)
        apart = wanted("loss.activation", loss=LossSettings(activation="sigmoid"))
        assert fit(like(**scene, background=None), apart).settings.logit_adjustment == 0
        assert fit(like(**scene, background=None), kept).settings.logit_adjustment == 0

    def test_windows_are_drawn_around_rare_classes(self) -> None:
        names, count = ("background", "road", "house"), 10**6
        rare = like(classes=names, class_px=(950_000, 41_000, 9_000), labelled_px=count)
        draft = fit(rare, wanted())
        assert 0 < draft.settings.window.rare_share < 1
        assert "house has only 0.90%" in draft.reasons["window.rare_share"]
        assert fit(like(), wanted()).settings.window.rare_share == 0

    def test_classes_that_overlap_have_a_probability_each(self) -> None:
        found = like(kind="multilabel", classes=("a", "b"), touching=None, close=None)
        for chosen in (wanted(), Wanted(default_settings())):
            assert fit(found, chosen).settings.loss.activation == "sigmoid"
        loss = default_settings().loss.model_copy(update={"activation": "sigmoid"})
        draft = fit(like(), wanted(loss=loss))
        assert "probability of its own" in draft.reasons["loss.activation"]


class TestTime:
    @examples(deadline=None, max_examples=50)
    @given(st.floats(1e-4, 20), st.floats(0, 1e5))
    def test_the_widest_that_has_enough_steps(self, window_s: float, left_s: float) -> None:
        network = default_settings().network
        assert isinstance(network, ConvolutionSettings)

        def step_s(width: int) -> float:
            return window_s * (width / 16) ** 2

        width, why = choose_width(network, step_s, left_s)
        widths = widths_for(network)
        wide = {other: left_s / step_s(other) for other in widths}
        need = {
            other: limits.WIDER_STEPS if other > 32 else limits.FEWEST_STEPS for other in widths
        }
        able = [other for other in widths if wide[other] >= need[other]]
        assert width == max(able, default=min(widths))
        assert f"{width} channels" in why

    def test_little_time_on_a_slow_machine_is_a_narrow_network_that_takes_many_steps(self) -> None:
        """An old laptop: a step of the usual network takes 4 s, of which a minute holds 13."""
        made = make(window_s=1.0, minutes=1)
        assert isinstance(made.settings.network, ConvolutionSettings)
        assert made.settings.network.base_channels == min(limits.WIDTHS[2])
        assert made.settings.window.batch_size == limits.SMALLEST_BATCH
        assert made.steps >= 3 * 60 / 4
        assert "fewer than 600" in made.reasons["network.base_channels"]
        assert "600 are wanted" in made.reasons["window.batch_size"]

    def test_volumes_are_narrowed_further(self) -> None:
        network = default_settings("unet3d").network
        assert isinstance(network, ConvolutionSettings)
        assert min(widths_for(network)) == 4
        chosen = Wanted(default_settings("unet3d"), frozenset())
        made = make(like((40, 60, 50)), window_s=0.8, chosen=chosen, minutes=1)
        assert isinstance(made.settings.network, ConvolutionSettings)
        assert made.settings.network.base_channels == 4
        assert made.steps >= 200

    def test_much_time_is_a_wider_network(self) -> None:
        made = make(window_s=0.002, minutes=15)
        assert isinstance(made.settings.network, ConvolutionSettings)
        assert made.settings.network.base_channels == max(limits.WIDTHS[2])

    def test_enough_time_is_for_each_pixel_by_itself(self) -> None:
        """With as far a look around, and as wide as there is time for."""
        made = make(window_s=0.1, minutes=15)
        network, usual = made.settings.network, default_settings().network
        assert isinstance(network, UNetSettings)
        assert (network.stem, network.depth, network.base_channels) == (1, 4, 32)
        grids = [[field.grid for field in build(each).fields] for each in (network, usual)]
        assert grids[0] == grids[1]
        assert made.reasons["network.stem"].startswith("Each pixel by itself")
        assert "4 poolings" in made.reasons["network.depth"]
        small = make(like((20, 20)), window_s=0.1, minutes=15).settings.network
        assert isinstance(small, UNetSettings)
        assert (small.stem, small.depth) == (1, 2)  # of which more would leave less than 3 px

    def test_squares_of_pixels_are_one_elsewhere(self) -> None:
        kept = wanted("network.stem")
        for fingerprint, chosen, window_s in (
            (like(), wanted(), 0.6),
            (like(background=None), wanted(), 0.1),
            (like(kind="instances"), wanted(), 0.1),
            (like(kind="multilabel"), wanted(), 0.1),
            (like(objects=0, object_px=()), wanted(), 0.1),
            (like(object_px=(1.0, 9e3, 1e4, 2e4, 3e4)), wanted(), 0.1),
            (like(), kept, 0.1),
        ):
            network = make(fingerprint, window_s, chosen).settings.network
            assert isinstance(network, UNetSettings)
            assert (network.stem, network.depth) == (2, 3)

    def test_a_finer_network_is_timed_only_where_it_may_be_taken(self) -> None:
        asked = []
        for window_s in (0.6, 1.2):
            speed: Any = Speed(window_s)
            draft = fit(like(), wanted())
            fit_to_time(draft, like(), speed, "float32", 15 * 60)
            asked.append({getattr(each.network, "stem", None) for each in speed.asked})
        assert asked == [{1, 2}, {2}]

    def test_without_a_time_the_width_is_the_usual_one(self) -> None:
        for budget in ({"steps": 3}, {"epochs": 0.5}):
            made = make(window_s=9, **budget)
            assert made.settings.network == default_settings().network
        assert made.steps == math.ceil(0.5 * 24 * 512**2 / (4 * 256**2))

    def test_a_group_norm_has_whole_groups(self) -> None:
        network = UNetSettings(padding="same", norm="group", base_channels=20)
        assert {width % 8 for width in widths_for(network) if width != 20} == {0}

    @pytest.mark.parametrize("name", ["fcn", "patchnet"])
    def test_other_networks_have_no_width_to_choose(self, name: str) -> None:
        made = make(chosen=Wanted(default_settings(name), frozenset()), steps=2, machine=large())
        assert "network.base_channels" not in made.reasons

    def test_times_are_predicted_from_two(self) -> None:
        """Exact where a time is what is computed plus what is moved: p w + q w^2."""

        class Known(Speed):
            def exactly(self, settings: Settings) -> float:
                assert isinstance(settings.network, ConvolutionSettings)
                width = settings.network.base_channels
                return (0.01 * width + 0.002 * width**2) * settings.window.batch_size

        speed: Any = Known(1)
        chosen = default_settings()
        assert isinstance(chosen.network, ConvolutionSettings)
        step_s = predicted_step_s(chosen, chosen.network, speed, "float32")
        for width in (8, 12, 16, 24, 32):
            assert step_s(width) == pytest.approx(4 * (0.01 * width + 0.002 * width**2))
        assert len(speed.asked) == 2
        assert {asked.window.batch_size for asked in speed.asked} == {limits.FEW_WINDOWS}

    def test_the_fastest_is_taken(self) -> None:
        speed: Any = Speed(1)
        assert fastest(default_settings(), "bfloat16", speed)[:2] == ("float32", "channels_last")
        assert len(speed.asked) == 4
        known = default_settings().model_copy(
            update={"precision": "bfloat16", "layout": "contiguous"}
        )
        assert fastest(known, "float32", speed) == ("bfloat16", "contiguous", "As you set it.")

    def test_the_time_is_kept(self) -> None:
        plan = make(window_s=0.25, minutes=2)
        assert plan.seconds == pytest.approx(120, abs=2)
        assert plan.step_s == pytest.approx(Speed(0.25).exactly(plan.settings))
        assert f"{plan.steps} steps" in plan.describe()

    def test_too_little_time_is_refused(self) -> None:
        with pytest.raises(SettingsError, match=r"0\.05 min are too short"):
            make(minutes=0.05)


class TestAveraging:
    @given(st.integers(1, 10**6))
    @examples(deadline=None, max_examples=50)
    def test_it_never_reaches_back_to_the_beginning(self, steps: int) -> None:
        decay, _ = choose_averaging(steps)
        assert 0 <= decay <= limits.LONGEST_AVERAGE
        if decay:
            assert 1 / (1 - decay) <= steps / limits.AVERAGED_PART * 1.01
        else:
            assert steps <= limits.AVERAGED_PART


class TestMemory:
    def test_the_batch_is_halved_until_it_fits(self) -> None:
        whole = make(steps=5)
        tight = large(free_mib=int(whole.peak_mib / limits.USABLE_MEMORY) - 1)
        made = make(machine=tight, steps=5)
        assert made.settings.window.batch_size == 2
        assert "and " in made.reasons["window.batch_size"]
        assert made.peak_mib <= limits.USABLE_MEMORY * tight.free_mib
        assert made.peak_mib == peak_mib(made.settings, "cpu")

    def test_then_activations_are_computed_twice(self) -> None:
        whole = make(chosen=wanted("window"), steps=5)
        tight = large(free_mib=int(whole.peak_mib / limits.USABLE_MEMORY) - 1)
        made = make(machine=tight, chosen=wanted("window"), steps=5)
        assert made.settings.memory_saving
        assert "computed a second time" in made.reasons["memory_saving"]
        assert made.peak_mib == peak_mib(made.settings, "cpu") < whole.peak_mib
        kept = wanted("window", "memory_saving")
        with pytest.raises(SettingsError, match=r"window\.batch_size below 4"):
            make(machine=tight, chosen=kept, steps=5)

    def test_what_cannot_fit_is_refused(self) -> None:
        with pytest.raises(SettingsError, match=r"take [\d,]+ MiB.*window\.size_px below 256"):
            make(machine=large(free_mib=20), steps=5)
        with pytest.raises(SettingsError, match=r"window\.batch_size below 4"):
            make(machine=large(free_mib=200), chosen=wanted("window"), steps=5)


class TestFile:
    def test_a_plan_is_a_file_of_settings(self) -> None:
        plan = make()
        text = plan.to_yaml()
        assert from_yaml(Settings, text, "") == plan.settings
        again = read_settings(text, "settings.yaml")
        assert again.settings == plan.settings
        assert make(chosen=again, window_s=9, steps=plan.steps).settings == plan.settings

    @examples(deadline=None, max_examples=60)
    @given(st.data())
    def test_any_settings_with_any_reasons_are_read_back(self, data: st.DataObject) -> None:
        names = sorted({*dotted_names(default_settings().model_dump())})
        reasons = data.draw(st.dictionaries(st.sampled_from(names), st.text(max_size=300)))
        side = st.integers(1, 999)
        network = default_settings("unet3d").network.model_copy(
            update={"strides": data.draw(st.none() | st.just(((1, 2, 2), (2, 2, 2), (2, 1, 1))))}
        )
        colours = st.builds(NamedClass, name=st.text(max_size=9), value=st.none() | side)
        settings = Settings(
            network=network,
            window=WindowSettings(size_px=data.draw(side | st.tuples(side, side, side))),
            labels=LabelSettings(
                ignore=tuple(data.draw(st.lists(side | st.just("#00FF00"), max_size=3))),
                colours=tuple(data.draw(st.lists(colours, max_size=2))),
            ),
            averaging=data.draw(st.floats(0, 0.999)),
            steps=data.draw(st.none() | side),
        )
        text = to_explained_yaml(settings, reasons)
        assert from_yaml(Settings, text, "") == settings
        assert read_settings(text, "").settings == settings

    def test_a_reason_stands_above_its_setting(self) -> None:
        lines = make().to_yaml().splitlines()
        place = next(n for n, line in enumerate(lines) if line.startswith("  border_weight:"))
        above = " ".join(line.strip(" #") for line in lines[place - 2 : place])
        assert "1950 of 2000 objects" in above

    def test_a_file_is_laid_over_the_preset(self) -> None:
        found = read_settings("network: {depth: 3}\noptimiser:\n  learning_rate: 0.01\n", "f")
        usual = default_settings()
        assert found.settings.network == usual.network.model_copy(update={"depth": 3})
        assert found.settings.optimiser.learning_rate == 0.01
        assert found.settings.window == usual.window
        assert found.kept == {"network.depth", "optimiser.learning_rate"}
        assert found.keeps("network.depth")
        assert not found.keeps("network.norm")
        paper = read_settings("preset: paper\nseed: 3", "f")
        assert paper.settings == paper_settings().model_copy(update={"seed": 3})

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("network: {name: vnet}", "network: there is no 'vnet'; known: 'unet'"),
            ("preset: best", "preset: Input should be 'default' or 'paper', not 'best'"),
            ("optimiser: {speed: 3}", r"f: optimiser\.speed: there is no such setting; known here"),
            ("networks: 3", "f: networks: there is no such setting; known here: preset, network"),
            ("network: unet", "network"),
            ("window: 3", "window"),
            ("[1, 2]", "f holds no settings"),
            ("a: [", "f is not YAML"),
        ],
    )
    def test_bad_files_are_refused(self, text: str, words: str) -> None:
        with pytest.raises(SettingsError, match=words):
            read_settings(text, "f")


def test_the_library_makes_the_plan_that_training_follows() -> None:
    from overtile.sample import draw_sample

    image, cells = draw_sample(0, 0, (64, 64))
    settings = Settings(
        network=UNetSettings(padding="same", depth=1, base_channels=4, norm="batch"),
        window=WindowSettings(size_px=32, batch_size=1),
        border="own",
        precision="float32",
        layout="contiguous",
    )
    keep = ["network.depth", "network.base_channels", "window"]
    given = {"steps": 3, "settings": settings, "keep": keep, "labels_are": "instances"}
    plan = overtile.plan(image, cells, **given)  # type: ignore[arg-type]
    told: list[Plan] = []
    model = overtile.train(image, cells, **given, on_plan=told.append).model  # type: ignore[arg-type]
    (same,) = told
    assert same.settings == plan.settings == model.settings
    assert same.reasons == plan.reasons == model.reasons
    assert same.fingerprint == plan.fingerprint == model.fingerprint
    assert same.peak_mib == plan.peak_mib


def test_settings_hold_the_steps_where_nothing_else_says_how_long() -> None:
    from overtile.sample import draw_sample

    chosen = default_settings().model_copy(update={"steps": 4})
    image, cells = draw_sample(0, 0, (64, 64))
    assert overtile.plan(image, cells, settings=chosen, keep=["steps"]).steps == 4
    assert overtile.plan(image, cells, settings=chosen, keep=[], epochs=500).steps > 4


def test_a_plan_needs_labels() -> None:
    with pytest.raises(overtile.OvertileError, match="label"):
        overtile.plan(layouts.pairs(like_image(), None), steps=1)


def like_image() -> Any:
    from overtile.sample import draw_sample

    return draw_sample(0, 0, (32, 32))[0]


def test_presets_are_known() -> None:
    assert presets.names_of_network(default_settings()) >= {"network.depth", "border"}
    assert "network.channels" not in presets.names_of_network(default_settings())
