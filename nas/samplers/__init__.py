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
from nas.searching.optuna_private import has_constraints

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


def create(name: str, seed: int) -> BaseSampler | Proposer:
    """Return the sampler `name`: one of ours, or the dotted name of a module. UserError if that makes none."""
    make = find_module(name, "sampler", "nas.samplers", known(), "sampler").sampler
    if not callable(make):
        raise UserError(f"sampler {name!r}: its sampler is {make!r}; expected a function of a seed")
    sampler = make(seed=seed) if _by_name(name, make, seed) else make(seed)
    if not isinstance(sampler, BaseSampler | Proposer):
        raise UserError(f"sampler {name!r}: its sampler(seed) returns {sampler!r}; expected Optuna's, or a Proposer")
    if has_constraints(sampler):
        raise UserError(
            f"sampler {name!r} has a constraints_func, which a search does not ask: leave it out, and limit networks "
            "by max_parameters, max_macs and max_seconds"
        )
    return sampler


def _by_name(name: str, make: Callable[..., Any], seed: int) -> bool:
    """Whether a function takes `seed` by its name. UserError if it takes none."""
    try:
        signature = inspect.signature(make)
    except ValueError:  # it is not written in Python
        return False
    if "seed" in signature.parameters:
        return True
    try:
        signature.bind(seed)
    except TypeError as error:
        raise UserError(f"sampler {name!r}: its sampler{signature} takes no seed; expected sampler(seed)") from error
    return False
