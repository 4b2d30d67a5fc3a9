"""A network with its weights, as a restorer of that name has them for a setting."""

from __future__ import annotations

from bench.errors import TrainingError, WeightsError
from bench.plugins.registry import choose, load_class, made
from bench.plugins.weights import pick
from bench.restorer import TorchRestorer, WeightsFile
from bench.tasks import Setting

__all__ = ["with_weights"]


def with_weights(asked: str, name: str, setting: Setting) -> tuple[TorchRestorer, WeightsFile]:
    """The restorer called `name`, not yet prepared, and its weights for the setting.

    asked  what named it, as messages begin: `teacher = 'dncnn@published'`

    Raises TrainingError if there is no such network for the setting, or its weights cannot be had.
    """
    spec = choose(name)
    restorer_class = load_class(spec.info.target)
    if spec.ensemble or not issubclass(restorer_class, TorchRestorer):
        raise TrainingError(f"{asked}: expected a network, and not its self-ensemble.")
    try:
        weights = pick(spec, setting).file
    except WeightsError as error:
        raise TrainingError(f"{asked}: {error}") from None
    restorer = made(restorer_class, spec.variant, weights, spec.parameters)
    assert isinstance(restorer, TorchRestorer)
    reason = restorer.why_not(setting)
    if reason is not None or weights is None:
        raise TrainingError(f"{asked}: {reason or 'it has no weights'}.")
    return restorer, weights
