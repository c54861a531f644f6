from nas.samplers.surrogate import SurrogateSampler

__all__ = ["SurrogateSampler"]
