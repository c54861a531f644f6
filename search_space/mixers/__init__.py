"""Token mixers. A name is a module: `sample` says what may be chosen, `Mixer` maps (B, H, W, C) -> (B, H, W, C).

    def sample(trial, prefix, side, *, <option>: Bound = ...) -> dict     # options; names f"{prefix}.<option>"
    class Mixer(nn.Module):
        takes_token: bool         # True: forward(x, token (B, 1, C)) -> (x, token), mixing both (default False)
        takes_relation: bool      # True: has `relative` and `rotary`, None or a module of relation.py (default False)
        mixes_channels: bool      # True: the block needs no MLP (default False)
        equivariant: bool         # True: turns and mirrors with the grid once its weights are tied (symmetry.py); its
                                  # heads, if it has such, are then an option `heads` of `sample`
        knows_centre: bool        # True: it measures from the middle of the grid, where the lens is (default False)
        parts: int                # its heads split so many parts of the width alike (default 1)
        narrows: int              # its narrowest layer has a channel for so many of the width (default 1)
        Norm: type[nn.Module]     # of the block (default: the architecture's norm_layer)
        def __init__(self, dim, grid, *, <option>=...)
            # `index=0`, the block's place in its stage, and `norm_layer="layer"` are passed if it has these keywords

The mixers in this folder have short names ("conv"). Your own is named by its import path ("my_package.my_mixer", or
"my_study" for one in a study file). A package holds variants of one mixer, each a module of the same form; its
`DEFAULT` names the plain one.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from types import ModuleType
from typing import Any

from torch import nn

from search_space.bounds import Bound, Trial, pick
from search_space.errors import ArchitectureError


@cache
def known() -> tuple[str, ...]:
    """The short names of the mixers in this package."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> ModuleType:
    """Return the module, or the package of variants, of the mixer called `name`.

    Raises:
        ArchitectureError: there is no such module, or it lacks a part of a mixer. An error inside the module is
            raised as it is.
    """
    return _ours(name) if name in known() else _own(name)


@cache
def _ours(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _own(name: str) -> ModuleType:
    """Return a user's module. What is cached of it is cached by the module, as another may take its name."""
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise ArchitectureError(f"{name!r} is not the name of a mixer; known: {', '.join(known())}; or name a module")
    try:
        module = sys.modules.get(name) or importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module exists, and imports something that does not
        raise ArchitectureError(
            f"unknown mixer {name!r}, expected one of: {', '.join(known())}; or the name of a module of your own that "
            "Python can import"
        ) from None
    return module if _has_variants(module) else _checked(module, name)


def _has_variants(module: ModuleType) -> bool:
    return hasattr(module, "__path__") and hasattr(module, "DEFAULT")


def _checked(module: ModuleType, name: str) -> ModuleType:
    if missing := [part for part in ("sample", "Mixer") if not callable(getattr(module, part, None))]:
        place = getattr(module, "__file__", None) or module.__name__
        raise ArchitectureError(
            f"mixer {name!r}: {place} defines no {' and no '.join(missing)}; expected a function `sample` and a class "
            "`Mixer` (in a study file, above its STUDY), or a package of variants with a `DEFAULT`"
        )
    return module


def variants(name: str) -> tuple[str, ...]:
    """The variants of a mixer, its default first; empty if the mixer is a single module."""
    return _variants(load(name))


@cache
def _variants(module: ModuleType) -> tuple[str, ...]:
    if not _has_variants(module):
        return ()
    names = {found.name for found in pkgutil.iter_modules(module.__path__) if not found.name.startswith("_")}
    if module.DEFAULT not in names:
        raise ArchitectureError(
            f"DEFAULT={module.DEFAULT!r} of {module.__name__} is none of its modules: {', '.join(sorted(names))}"
        )
    return (module.DEFAULT, *sorted(names - {module.DEFAULT}))


def resolve(name: str, options: Mapping[str, Any]) -> tuple[ModuleType, dict[str, Any]]:
    """The module that implements mixer `name` with these options, and the options left for it."""
    module = module_of(name, options)
    return module, {key: value for key, value in options.items() if key != "variant" or not variants(name)}


def module_of(name: str, options: Mapping[str, Any]) -> ModuleType:
    """The module that implements mixer `name` with these options."""
    choices = variants(name)
    variant = options.get("variant", choices[0]) if choices else None
    if choices and not isinstance(variant, str):
        raise ArchitectureError(f"unknown variant {variant!r} of mixer {name!r}, expected one of: {', '.join(choices)}")
    return implementation(name, variant)


def implementation(name: str, variant: str | None) -> ModuleType:
    """The module of one variant of mixer `name`, or of the whole mixer for None."""
    module = load(name)
    if variant is None:
        return module
    if variant not in (choices := _variants(module)):
        raise ArchitectureError(f"unknown variant {variant!r} of mixer {name!r}, expected one of: {', '.join(choices)}")
    return _variant(module, variant)


@cache
def _variant(module: ModuleType, name: str) -> ModuleType:
    full = f"{module.__name__}.{name}"
    return _checked(importlib.import_module(full), full)


def sample(name: str, trial: Trial, prefix: str, side: int, bounds: Mapping[str, Bound]) -> dict[str, Any]:
    """Sample the options of mixer `name` on a grid of `side` x `side` tokens; `bounds` replaces default bounds."""
    if bounds and (unknown := sorted(set(bounds) - set(bound_names(name)))):
        raise ArchitectureError(f"mixer {name!r} has no option {unknown[0]!r}; known: {', '.join(bound_names(name))}")
    prefix, options = f"{prefix}.{name}", {}
    if choices := variants(name):
        options["variant"] = pick(trial, f"{prefix}.variant", bounds.get("variant", choices))
    module = module_of(name, options)
    own = {key: bound for key, bound in bounds.items() if key in _keywords(module.sample)}
    return {**options, **module.sample(trial, prefix, side, **own)}


def bound_names(name: str) -> tuple[str, ...]:
    """Every option of a mixer, over all its variants, that can be bounded."""
    choices = variants(name)
    found = dict.fromkeys(("variant",) if choices else ())
    for variant in choices or (None,):
        found |= dict.fromkeys(_keywords(implementation(name, variant).sample))
    return tuple(found)


def default_bounds(name: str, variant: str | None) -> Mapping[str, Bound]:
    """The bounds of the options of one variant of mixer `name`, or of the whole mixer for None, unless given others."""
    return _defaults(implementation(name, variant).sample)


def trait(name: str, options: Mapping[str, Any], attribute: str) -> bool:
    """`takes_token`, `takes_relation`, `mixes_channels`, `equivariant` or `knows_centre`, with these options."""
    return bool(getattr(module_of(name, options).Mixer, attribute, False))


def narrowest(name: str, options: Mapping[str, Any], width: int) -> int:
    """The channels of the narrowest layer, or of a head, of a mixer with these options."""
    return width // max(getattr(module_of(name, options).Mixer, "narrows", 1), options.get("heads", 1))


def check_equivariant(blocks: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Raise ArchitectureError unless each mixer with these options is `equivariant`."""
    for name, options in blocks:
        if not trait(name, options, "equivariant"):
            given = (name, options.get("variant", variants(name)[0]) if variants(name) else None)
            each = [(mixer, variant) for mixer in known() for variant in variants(mixer) or (None,)]
            able = [pair for pair in each if getattr(implementation(*pair).Mixer, "equivariant", False)]
            plain, *names = (" ".join(filter(None, pair)) for pair in (given, *able))
            raise ArchitectureError(
                f"a symmetric network cannot have the mixer {plain!r}, expected one of: {', '.join(names)}"
            )


def check_no_centre(blocks: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Raise ArchitectureError if a mixer measures from the middle of the grid, which is no place of a polar image."""
    for name, options in blocks:
        if trait(name, options, "knows_centre"):
            plain = " ".join(filter(None, (name, options.get("variant"))))
            raise ArchitectureError(
                f"a symmetric network cannot have the mixer {plain!r} behind front_end='polar', whose middle is not "
                "the lens: use another mixer, or another front end"
            )


def build(
    name: str, dim: int, grid: tuple[int, int], *, index: int, options: Mapping[str, Any], norm_layer: str = "layer"
) -> nn.Module:
    """Build mixer `name` for `dim` channels on a grid of (H, W) tokens; `index` is the block's place in its stage."""
    module, own = resolve(name, options)
    keywords = _keywords(module.Mixer.__init__)
    allowed = [key for key in keywords if key not in ("index", "norm_layer")]
    if unknown := sorted(set(own) - set(allowed)):
        raise ArchitectureError(f"mixer {name!r} has no option {unknown[0]!r}; known: {', '.join(allowed) or 'none'}")
    if name in known():
        _check_types(name, module, own)
    own |= {key: value for key, value in (("index", index), ("norm_layer", norm_layer)) if key in keywords}
    try:
        mixer: nn.Module = module.Mixer(dim, grid, **own)
    except (TypeError, ZeroDivisionError, RuntimeError) as error:
        if name not in known():  # a fault of its own, perhaps
            raise
        raise ArchitectureError(f"mixer {name!r} takes no options {dict(options)!r} at width {dim}: {error}") from error
    return mixer


def _check_types(name: str, module: ModuleType, options: Mapping[str, Any]) -> None:
    """Raise ArchitectureError unless each option has the type of the mixer's default, if it has one."""
    parameters = inspect.signature(module.Mixer.__init__).parameters
    for key, value in options.items():
        default = parameters[key].default
        number = isinstance(default, float) and isinstance(value, int | float) and not isinstance(value, bool)
        if default not in (None, inspect.Parameter.empty) and type(value) is not type(default) and not number:
            raise ArchitectureError(
                f"mixer {name!r}: {key}={value!r}; expected {type(default).__name__}, as {default!r}"
            )


@cache
def _defaults(function: Any) -> Mapping[str, Any]:
    parameters = inspect.signature(function).parameters
    return {name: parameters[name].default for name in _keywords(function)}


@cache  # a search decodes hundreds of configurations for each that it proposes
def _keywords(function: Any) -> tuple[str, ...]:
    return tuple(p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY)
