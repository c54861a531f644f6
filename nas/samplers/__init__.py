"""Which configuration to try next. A sampler is a module here, `nas/samplers/<name>.py`, with `sampler(seed)`."""

from __future__ import annotations

import importlib
import pkgutil

from optuna.samplers import BaseSampler


def known() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str, seed: int) -> BaseSampler:
    if name not in known():
        raise ValueError(f"unknown sampler {name!r}; known: {', '.join(known())}")
    sampler: BaseSampler = importlib.import_module(f"nas.samplers.{name}").sampler(seed)
    return sampler
