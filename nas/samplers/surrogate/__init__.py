"""The default sampler: a model of the search, learnt from every rung, and the proposals that it scores."""

from nas.samplers.surrogate.sampler import Sampler, sampler

__all__ = ["Sampler", "sampler"]
