"""The default sampler: a model learns from the values at every rung and scores the proposals.

`Sampler` is what the engine asks, `SurrogateSampler` the same for anybody's Optuna study.
"""

from nas.samplers.surrogate.optuna_sampler import SurrogateSampler
from nas.samplers.surrogate.proposer import Sampler, sampler

__all__ = ["Sampler", "SurrogateSampler", "sampler"]
