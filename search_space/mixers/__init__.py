"""Token mixers. A name is a module here: `sample` says what may be chosen, `Mixer` maps (B, H, W, C) -> (B, H, W, C).

    def sample(trial, prefix, side, *, <option>: Bound = ...) -> dict     # options; names f"{prefix}.<option>"
    class Mixer(nn.Module):
        takes_token: bool         # True: forward(x, token (B, 1, C)) -> (x, token), mixing both
        takes_relation: bool      # True: has `relative` and `rotary`, None or a module of relation.py (default False)
        mixes_channels: bool      # True: the block needs no MLP (default False)
        Norm: type[nn.Module]     # of the block (default: the architecture's norm_layer)
        def __init__(self, dim, grid, *, index=0, norm_layer=..., <option>=...)
            # index: place of the block in its stage; norm_layer: only where the mixer has norms of its own

A package holds variants of one mixer, each a module of the same form; its `DEFAULT` names the plain one.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

from torch import nn

from search_space.bounds import Bound, Trial, pick


@cache
def known() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@cache
def load(name: str) -> ModuleType:
    """The module (or package of variants) called `name`."""
    if name not in known():
        raise ValueError(f"unknown mixer {name!r}, expected one of: {', '.join(known())}")
    return importlib.import_module(f"{__name__}.{name}")


@cache
def variants(name: str) -> tuple[str, ...]:
    """The variants of a mixer, its default first; empty where the mixer is a single module."""
    module = load(name)
    if not hasattr(module, "__path__"):
        return ()
    names = {found.name for found in pkgutil.iter_modules(module.__path__)}
    return (module.DEFAULT, *sorted(names - {module.DEFAULT}))


def resolve(name: str, options: Mapping[str, Any]) -> tuple[ModuleType, dict[str, Any]]:
    """The module that implements mixer `name` with these options, and the options left for it."""
    module = module_of(name, options)
    return module, {key: value for key, value in options.items() if key != "variant" or not variants(name)}


def module_of(name: str, options: Mapping[str, Any]) -> ModuleType:
    choices = variants(name)
    return implementation(name, options.get("variant", choices[0]) if choices else None)


@cache
def implementation(name: str, variant: str | None) -> ModuleType:
    if variant is None:
        return load(name)
    if variant not in (choices := variants(name)):
        raise ValueError(f"unknown variant {variant!r} of mixer {name!r}, expected one of: {', '.join(choices)}")
    return importlib.import_module(f"{__name__}.{name}.{variant}")


def sample(name: str, trial: Trial, prefix: str, side: int, bounds: Mapping[str, Bound]) -> dict[str, Any]:
    """Options of mixer `name` on a grid of `side` x `side` tokens; `bounds` replaces default bounds by option."""
    if bounds and (unknown := sorted(set(bounds) - set(bound_names(name)))):
        raise ValueError(f"mixer {name!r} has no option {unknown[0]!r}; known: {', '.join(bound_names(name))}")
    prefix, options = f"{prefix}.{name}", {}
    if choices := variants(name):
        options["variant"] = pick(trial, f"{prefix}.variant", bounds.get("variant", choices))
    module = module_of(name, options)
    own = {key: bound for key, bound in bounds.items() if key in _keywords(module.sample)}
    return {**options, **module.sample(trial, prefix, side, **own)}


@cache
def bound_names(name: str) -> tuple[str, ...]:
    """Every option of a mixer (over all its variants) that can be bounded."""
    choices = variants(name)
    found = {"variant": None} if choices else {}
    for variant in choices or (None,):
        found |= dict.fromkeys(_keywords(resolve(name, {"variant": variant} if variant else {})[0].sample))
    return tuple(found)


def trait(name: str, options: Mapping[str, Any], attribute: str) -> bool:
    """`takes_token`, `takes_relation` or `mixes_channels` of a mixer with these options."""
    return bool(getattr(module_of(name, options).Mixer, attribute, False))


def build(
    name: str, dim: int, grid: tuple[int, int], *, index: int, options: Mapping[str, Any], norm_layer: str = "layer"
) -> nn.Module:
    module, own = resolve(name, options)
    keywords = _keywords(module.Mixer.__init__)
    allowed = [key for key in keywords if key not in ("index", "norm_layer")]
    if unknown := sorted(set(own) - set(allowed)):
        raise ValueError(f"mixer {name!r} has no option {unknown[0]!r}; known: {', '.join(allowed) or 'none'}")
    if "norm_layer" in keywords:
        own["norm_layer"] = norm_layer
    mixer: nn.Module = module.Mixer(dim, grid, index=index, **own)
    return mixer


@cache  # a search decodes hundreds of configurations for each that it proposes
def _keywords(function: Any) -> tuple[str, ...]:
    return tuple(p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY)
