"""How parameters are changed by gradients: SGD, Adam, AdamW, Muon, and the schedule of the rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from overtile.networks.network import Rated
from overtile.settings import OptimiserSettings

NEWTON_SCHULZ = 5
"""Steps of the iteration of `orthogonal`."""

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of its odd polynomial of degree 5, by Jordan et al. 2024: small singular values are raised as
fast as can be, and large ones need not come nearer to 1 than 0.68 to 1.2."""

LENGTH = 0.2
"""Root mean square of the change of a kernel at a learning rate of 1, about that of AdamW (Liu et
al. 2025), so that one rate serves both."""

MUON_MOMENTUM = 0.95
"""Of the kernels' gradients, as Jordan et al. 2024 set it."""


class Muon(torch.optim.AdamW):
    """Kernels go along their orthogonalised momentum, all other parameters as in AdamW.

    A convolution is a linear map from all that its kernel sees to its output channels. Its gradient
    has few large singular values, so that most of what a kernel could learn changes little at each
    step; orthogonalised, all directions change alike (K. Jordan et al. 2024, Muon,
    https://kellerjordan.github.io/posts/muon). PyTorch's `torch.optim.Muon` takes matrices only.

    Parameters
    ----------
    groups
        As of `torch.optim.AdamW`. Kernels larger than one pixel are told by their shape; not those
        of a single input channel, whose rows have nothing to do with each other.
    rate, betas, decay
        Learning rate, betas of AdamW, and decoupled weight decay, for all parameters.
    precision
        Of the matrix products: ``bfloat16`` where that is fast.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        rate: float,
        betas: tuple[float, float],
        decay: float,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(groups, rate, betas=betas, weight_decay=decay)
        self.precision = precision

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters; the gradients of kernels are used up."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for kernel in filter(is_kernel, group["params"]):
                if kernel.grad is not None:
                    self._turn(kernel, group["lr"], group["weight_decay"])
                    kernel.grad = None  # AdamW leaves parameters without gradients alone
        super().step()
        return loss

    def _turn(self, kernel: Tensor, rate: float, decay: float) -> None:
        """Change one kernel by its orthogonalised momentum (Nesterov's)."""
        gradient = kernel.grad
        assert gradient is not None
        state = self.state[kernel]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(kernel)
            state["step"] = torch.zeros(())  # AdamW looks for it in what it loads
        momentum = state["momentum_buffer"]
        momentum.lerp_(gradient, 1 - MUON_MOMENTUM)
        ahead = gradient.lerp(momentum, MUON_MOMENTUM).flatten(1)
        change = orthogonal(ahead.to(self.precision)).to(kernel.dtype).view(kernel.shape)
        kernel.mul_(1 - rate * decay)
        kernel.add_(change, alpha=-rate * LENGTH * math.sqrt(max(ahead.shape)))


def is_kernel(parameter: Tensor) -> bool:
    """Whether it is a convolution's kernel that mixes channels and pixels.

    (out in *space), and of a transposed one (in out *space): rows are channels either way.
    """
    return parameter.ndim > 3 and parameter.shape[1] > 1 and math.prod(parameter.shape[2:]) > 1


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix (rows columns) = U S V^T, in its precision.

    By the iteration of Newton and Schulz, in matrix products alone (Jordan et al. 2024). Singular
    values become 0.65 to 1.2; those below about 1/700 of the matrix' norm remain smaller.
    """
    turned = matrix.shape[0] > matrix.shape[1]
    found = matrix.T if turned else matrix
    found = found / (found.norm() + 1e-7)
    linear, cubic, quintic = COEFFICIENTS
    for _ in range(NEWTON_SCHULZ):
        square = found @ found.T
        square = torch.addmm(square, square, square, beta=cubic, alpha=quintic)
        found = torch.addmm(found, square, found, beta=linear)
    return found.T if turned else found


def make_optimiser(
    rated: Iterable[Rated], settings: OptimiserSettings, precision: torch.dtype = torch.float32
) -> torch.optim.Optimizer:
    """The optimiser that is set, for parameters that learn at rates of their own.

    Parameters
    ----------
    rated
        Parameters, with the share of the learning rate at which they learn.
    settings
        Of the optimiser.
    precision
        In which the network is trained, and Muon multiplies matrices.
    """
    parameters = [{"params": some, "lr": share * settings.learning_rate} for some, share in rated]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.name == "sgd":
        return torch.optim.SGD(
            parameters, rate, momentum=settings.momentum, weight_decay=decay, foreach=True
        )
    betas = (settings.momentum, 0.999)
    if settings.name == "muon":
        return Muon(parameters, rate, betas, decay, precision)
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return kind(parameters, rate, betas=betas, weight_decay=decay)


def learning_rate_factor(step: int, steps: int, schedule: Literal["constant", "cosine"]) -> float:
    """What the learning rate is multiplied with at a step (from 0) of a run of `steps`.

    The cosine schedule rises linearly over the first 5 % of the run, at most 100 steps, so that
    the first large gradients do no harm, then falls along half a cosine to a thousandth.
    """
    if schedule == "constant":
        return 1.0
    rise = max(1, min(100, steps // 20))
    if step < rise:
        return (step + 1) / rise
    done = min(1.0, (step - rise) / max(1, steps - rise))
    return 0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * done))
