"""Which configuration to try next. Each sampler is a module here, `nas/samplers/<name>.py`, with `sampler(seed)`.

Any Optuna sampler works; it is asked parameter by parameter. One that is a `Proposer` proposes whole configurations.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas.errors import UserError
from nas.modules import find_module

GIVEN = "given"  # the user attribute of trials whose parameters were given, not sampled
COST = "cost"  # the user attribute with the cost of a trial, in a search for the front of value and cost
SECONDS = "seconds"  # the user attribute with the mean duration of an epoch of a trial, once it has stopped

SHOWN_BY_TRAINING = ("failed", "seconds")  # the constraints that a trial can only violate by having been trained


@runtime_checkable
class Proposer(Protocol):
    def propose(
        self, trials: Sequence[FrozenTrial], sample: Callable[[Any], Any], rungs: Sequence[int], sign: float
    ) -> Mapping[str, Any] | None:
        """Return all parameters of the next trial, or None if every configuration of a finite space has been tried.

        `trials` are all trials so far, with paused ones PRUNED. Those with the attribute `GIVEN` were expected to be
        good; the attribute `COST` is a second objective, to be minimised; `SECONDS` is what an epoch of a trial took.
        `sample` decodes anything with Optuna's suggest methods. `rungs` are the epochs at which trials are compared.
        `sign` * value is higher for better trials.
        """


def known() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def create(name: str, seed: int) -> BaseSampler:
    """Return the sampler `name`: one of ours, or the dotted name of a module. UserError if that makes none."""
    make = find_module(name, "sampler", "nas.samplers", known(), "sampler").sampler
    try:
        inspect.signature(make).bind(seed)
    except TypeError as error:
        raise UserError(f"sampler {name!r}: its sampler{inspect.signature(make)} takes no seed; let it") from error
    sampler = make(seed)
    if not isinstance(sampler, BaseSampler):
        raise UserError(f"sampler {name!r}: its sampler(seed) returns {sampler!r}; expected a sampler of Optuna")
    return sampler
