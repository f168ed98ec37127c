"""The last good state of a run, and the way back to it where training diverges."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from overtile.errors import SettingsError
from overtile.step import Average

SLOWER = 0.5
"""What the learning rate is multiplied with at each return."""

MOST_RETURNS = 5
"""So many to one state, each with half the rate of the one before, before the run is given up."""

WORSE_THAN_NOTHING = 10.0
"""A loss so many times that of the untrained network, or 1 where it began with less, is not yet
infinite but on its way there: to go back to such a state would be in vain."""


class Recovery:
    """Keeps the last good state in memory, and goes back to it.

    A state is good where all its numbers are finite, parameters and the optimiser's alike, and the
    loss that led to it is too. The steps after it are lost: the run goes on with the step that
    comes next, and with half the learning rate, so that it takes no longer than planned.

    Parameters
    ----------
    network, average
        As they are trained; both are put back.
    most
        The largest of the numbers that several processes give, which thus go back together.

    Attributes
    ----------
    rate
        What the learning rate of the schedule is multiplied with, 1 at first.
    """

    def __init__(
        self, network: nn.Module, average: Average, most: Callable[[float], float] = float
    ) -> None:
        self.network = network
        self.average = average
        self.most = most
        self.rate = 1.0
        self.highest = math.inf
        self.proven = True
        self.returns = 0
        self.at = 0
        self.good: dict[str, Any] = {}

    def begin(self, optimiser: torch.optim.Optimizer, step: int) -> None:
        """Take the state from which a run sets out, or goes on, for good."""
        self.at, self.good = step, self._state(optimiser)

    def saw(self, loss: float) -> None:
        """Note a finite loss, the mean of some steps."""
        if math.isinf(self.highest):
            self.highest = WORSE_THAN_NOTHING * max(1.0, abs(loss))
        self.proven = abs(loss) <= self.highest

    def keep(self, optimiser: torch.optim.Optimizer, step: int) -> bool:
        """Whether the present state is good; it is kept if it is."""
        if not self.proven or not self.is_finite(optimiser):
            return False
        self.at, self.returns, self.good = step, 0, self._state(optimiser)
        return True

    def is_finite(self, optimiser: torch.optim.Optimizer) -> bool:
        """Whether all numbers of the present state are."""
        own = (self.network.state_dict().values(), self.average.state.values())
        finite = all_finite([*own[0], *own[1], *_tensors(optimiser.state)])
        return not self.most(not finite)

    def go_back(self, optimiser: torch.optim.Optimizer, step: int, why: str) -> str:
        """Put the last good state back, and say so in a sentence.

        Parameters
        ----------
        optimiser
            Its learning rates are halved too.
        step
            The present one.
        why
            What was found, such as "the loss became nan".

        Raises
        ------
        SettingsError
            The same state was gone back to too often.
        """
        highest = max(group["initial_lr"] for group in optimiser.param_groups) * self.rate
        if self.returns >= MOST_RETURNS:
            raise diverged(why, step, highest)
        self.returns += 1
        self.rate *= SLOWER
        self.proven = False
        self.network.load_state_dict(self.good["network"])
        self.average.load(self.good["average"])
        groups = optimiser.state_dict()["param_groups"]
        state = _copied(self.good["optimiser"])  # which the optimiser would change in place
        optimiser.load_state_dict({"state": state, "param_groups": groups})
        for group in optimiser.param_groups:
            group["lr"] *= SLOWER
        return (
            f"Before step {step} {why}: training went back to its state of step {self.at}, and on "
            f"with half the learning rate (now at most {SLOWER * highest:.3g})."
        )

    def finish(self, optimiser: torch.optim.Optimizer, step: int) -> str | None:
        """What is to be said where a run ends in the state that it went back to, or None.

        Raises
        ------
        SettingsError
            That is the state in which it began: nothing was learnt.
        """
        said = None
        if not self.is_finite(optimiser):
            said = self.go_back(optimiser, step, "parameters or gradients became infinite or NaN")
        if self.returns and not self.proven and self.at == 0:
            rate = max(group["initial_lr"] for group in optimiser.param_groups)
            raise diverged("the loss became infinite or NaN", step, rate)
        return said

    def record(self) -> dict[str, Any]:
        """What a run that is resumed has to know, beside the state itself."""
        return {"rate": self.rate, "highest": self.highest}

    def load(self, record: dict[str, Any]) -> None:
        """Take over what an interrupted run recorded."""
        self.rate, self.highest = record["rate"], record["highest"]

    def _state(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """A copy of all that training changes, in the memory of the processor."""
        changed = {
            "network": self.network.state_dict(),
            "average": self.average.record(),
            "optimiser": optimiser.state_dict()["state"],
        }
        return {name: _copied(value) for name, value in changed.items()}


def diverged(why: str, step: int, rate: float) -> SettingsError:
    """The error that ends a run that cannot be saved."""
    return SettingsError(
        f"Before step {step} {why}, and no earlier state helped: training diverged. Lower "
        f"optimiser.learning_rate (now {rate:g}), for example to {rate / 4:g}."
    )


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no number of the tensors is NaN or infinite; one wait for the device in all."""
    found = [tensor.isfinite().all() for tensor in tensors if tensor.is_floating_point()]
    devices = {each.device for each in found}
    return all(
        bool(torch.stack([each for each in found if each.device == device]).all())
        for device in devices
    )


def _tensors(tree: Any) -> Iterator[Tensor]:
    """All tensors in nested dictionaries."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _tensors(value)


def _copied(tree: Any) -> Any:
    """Nested dictionaries with copies of their tensors, in the memory of the processor."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    return {key: _copied(value) for key, value in tree.items()} if isinstance(tree, dict) else tree
