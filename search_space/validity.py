"""Which bounds of a `HybridSpace` are refused, and which symmetries its networks can have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from search_space import mixers
from search_space.architecture import NOT_POLAR, ORDER, SYMMETRIC_FRONT_ENDS, Hybrid, Stage
from search_space.bounds import check, check_each, values
from search_space.errors import ArchitectureError
from search_space.parts.relation import ROTATED
from search_space.tying import Tying, choices

if TYPE_CHECKING:
    from search_space.space import HybridSpace

OF_STAGE = ("depth", "width", "mlp_ratio", "downsample")
OF_HYBRID = (
    "patch", "stem", "position", "position_place", "position_shared", "norm", "norm_layer", "layer_scale", "head",
    "drop_path", "symmetry", "front_end",
)  # fmt: skip


def check_space(space: HybridSpace) -> None:
    """Raise ArchitectureError for bounds that are wrong by themselves or do not fit one another."""
    for name in ("stages", *OF_STAGE, *OF_HYBRID):
        check_each(name, getattr(space, name), partial(_try, name))
    if space.grid is not None:
        check_each("grid", space.grid, partial(_try, "grid"))
    if not isinstance(space.smallest_grid, int) or space.smallest_grid < 1:
        raise ArchitectureError(f"smallest_grid={space.smallest_grid!r}: expected a whole number from 1")
    if space.grid is not None and min(values(space.grid)) < space.smallest_grid:
        raise ArchitectureError(
            f"grid={min(values(space.grid))} is below smallest_grid={space.smallest_grid}: raise one or lower the other"
        )
    if space.grid is None and set(values(space.stem)) == {"conv"}:
        for patch in values(space.patch):
            Hybrid((Stage("conv", 1, 32),), patch=patch, stem="conv")  # which needs powers of two
    _check_mixers(space)
    _check_symmetric(space)


def _try(name: str, value: Any) -> None:
    """Raise ArchitectureError if no network can have this value of a bound."""
    if name in ("stages", "grid"):
        Stage("conv", depth=value, width=1)  # counts alike, from 1
    elif name in OF_STAGE:
        Stage(**{"mixer": "conv", "depth": 1, "width": 1000, name: value})
    else:
        Hybrid((Stage("conv", 1, 32),), **{name: value})


def _check_mixers(space: HybridSpace) -> None:
    """Check the names of mixers and their options, and that every width can be split into every number of heads."""
    if not isinstance(space.options, Mapping) or not all(isinstance(b, Mapping) for b in space.options.values()):
        raise ArchitectureError(f"options={space.options!r}: expected bounds of options by mixer and name")
    for name, bounds in space.options.items():
        for option, bound in bounds.items():
            check(f"options[{name!r}][{option!r}]", bound)
    for name in ("mixers", "first"):
        given = getattr(space, name)
        if not isinstance(given, tuple) or not given:
            mended = f"; to fix it: {(given,)!r}" if isinstance(given, str) else ""
            raise ArchitectureError(f"{name}={given!r}: expected a tuple of names{mended}")
    for name in _named(space):
        names = mixers.bound_names(name)  # refuses an unknown one
        if name in mixers.known() and "heads" in names:
            for given, width in product(choices(name, space.options.get(name, {})), values(space.width)):
                _check_heads(space, name, given, width)
    for name, bounds in space.options.items():
        if unknown := sorted(set(bounds) - set(mixers.bound_names(name))):
            known = ", ".join(mixers.bound_names(name)) or "none"
            raise ArchitectureError(f"options[{name!r}]: mixer has no option {unknown[0]!r}; known: {known}")


def _check_heads(space: HybridSpace, name: str, options: Mapping[str, Any], width: int) -> None:
    """Raise ArchitectureError if a block of this width cannot be built with the heads that it may have."""
    if "heads" not in options:
        return
    number, module = options["heads"], mixers.module_of(name, options)
    parts = getattr(module.Mixer, "parts", 1)
    if not isinstance(number, int) or number < 1 or width % (number * parts):
        of_each = f" in each of {parts} directions" * (parts > 1)
        raise ArchitectureError(
            f"width {width} cannot be split into {number} heads of {name!r}{of_each}: change either"
        )
    rotates = "rotary" in values(space.position) and getattr(module.Mixer, "takes_relation", False)
    if rotates and width // number % ROTATED:
        raise ArchitectureError(
            f"width {width} and {number} heads of {name!r} with position 'rotary': expected a multiple of {ROTATED} "
            "channels in each head; change the width, or options, or leave 'rotary' out"
        )


def _check_symmetric(space: HybridSpace) -> None:
    """Raise ArchitectureError if every network is to be symmetric and could have a part that is not."""
    if "none" in values(space.symmetry):
        return
    for symmetry in dict.fromkeys(values(space.symmetry)):
        names = _named(space)
        mixers.check_equivariant(
            (name, given) for name in names for given in choices(name, space.options.get(name, {}))
        )
        front_ends = [name for name in values(space.front_end) if name != "polar" or symmetry not in NOT_POLAR]
        for width, front_end in product(values(space.width), front_ends):
            Hybrid((Stage("conv", 1, width),), symmetry=symmetry, front_end=front_end)  # refuses what does not fit
        for name in (name for name in names if name in mixers.known()):
            for given, width in product(choices(name, space.options.get(name, {})), values(space.width)):
                number = given.get("heads", 1)
                if width // number % ORDER[symmetry]:
                    raise ArchitectureError(
                        f"width {width} and {number} heads of {name!r} with symmetry={symmetry!r}: expected a "
                        f"multiple of {ORDER[symmetry]} channels in each head; change the width, or options"
                    )
    if not any(can_have(space, space.tyings[symmetry]) for symmetry in values(space.symmetry)):
        raise ArchitectureError(
            f"symmetry={space.symmetry!r}: no network of these bounds can have it; expected an mlp_ratio of whole "
            "fields (no continuous range), position 'none', head 'average' and front_end 'none'"
        )


def can_have(space: HybridSpace, tied: Tying) -> bool:
    """Whether some mixer, position embedding, head and front end of a space can have a symmetry."""
    able, positions = [name for name in space.mixers if name in tied.options], values(space.position)
    every = [(name, given) for name in able for given in choices(name, tied.options[name])]
    related = (
        "relative" in positions
        and not space.all_polar
        and all(mixers.trait(*block, "takes_relation") for block in every)
    )
    return (
        bool(able)
        and (related or "none" in positions or "conditional" in positions)
        and "average" in values(space.head)
        and any(
            front_end in SYMMETRIC_FRONT_ENDS and (front_end != "polar" or tied.symmetry not in NOT_POLAR)
            for front_end in values(space.front_end)
        )
    )


def _named(space: HybridSpace) -> list[str]:
    return [name for name in dict.fromkeys((*space.mixers, *values(space.first))) if name != "same"]
