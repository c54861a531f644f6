"""The default sampler: a model learns from the values at every rung and scores the proposals."""

from nas.samplers.surrogate.proposer import Sampler, sampler

__all__ = ["Sampler", "sampler"]
