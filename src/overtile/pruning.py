"""A model -> the smaller model that it holds: smaller parameters, fields, tiles, time and memory.

Only networks whose settings have ``levels`` hold one, which is UNet++. Their parameters are named
``part.level.rest``, and a level needs those of lower levels only; so to prune is to leave some out.
"""

from __future__ import annotations

from dataclasses import replace

from overtile.model import Model
from overtile.model.ensemble import combine


def prune(model: Model, level: int | None) -> Model:
    """The model whose output is that of a level of the network.

    Parameters
    ----------
    model
        A trained one.
    level
        From 1, the smallest, to the depth of the network. That one, and None, leave the model as
        it is.

    Raises
    ------
    SettingsError
        The network holds no smaller one, or none of this level that was trained.
    """
    if level is None:
        return model
    if model.members:
        return combine([prune(member, level) for member in model.members])
    settings = model.settings
    network = settings.network.pruned(level)
    if network == settings.network:
        return model
    lower = [f"logits_{each}" for each in network.levels]
    return replace(
        model,
        settings=settings.model_copy(update={"network": network}),
        fields=model.levels[level - 1],
        levels=model.levels[: level - 1],
        parameters={
            name: value
            for name, value in model.parameters.items()
            if int(name.split(".")[1]) <= level
        },
        test={
            "image": model.test["image"],
            "logits": model.test[f"logits_{level}"],
            **{name: model.test[name] for name in lower},
        },
        pruned=level,
    )
