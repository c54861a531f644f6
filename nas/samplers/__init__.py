"""Which configuration to try next. A sampler is a module here, `nas/samplers/<name>.py`, with `sampler(seed)`.

Any of Optuna's will do, which ask parameter by parameter. One that also is a `Proposer` is asked for all at once.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial


@runtime_checkable
class Proposer(Protocol):
    def propose(
        self, trials: Sequence[FrozenTrial], sample: Callable[[Any], Any], rungs: Sequence[int], sign: float
    ) -> Mapping[str, Any] | None:
        """All parameters of the next trial; None where every configuration of a finite space has been tried.

        `trials` are all so far, a paused one PRUNED; `sample` decodes anything with Optuna's suggest methods; `rungs`
        are the epochs at which trials are compared; `sign` times a value is better when higher.
        """


def known() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str, seed: int) -> BaseSampler:
    if name not in known():
        raise ValueError(f"unknown sampler {name!r}; known: {', '.join(known())}")
    sampler: BaseSampler = importlib.import_module(f"nas.samplers.{name}").sampler(seed)
    return sampler
