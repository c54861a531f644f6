"""What a network of a space can be once its weights are tied over a symmetry: its channels come in whole fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from search_space import mixers
from search_space.architecture import ORDER
from search_space.bounds import Bound, Range, step_of, values

Block = tuple[str, Mapping[str, Any]]  # a mixer and its options
Options = Mapping[str, Mapping[str, Bound]]  # bounds by mixer and name


@dataclass(frozen=True)
class Tying:
    """What is left of a space for one symmetry; for "none", all of it."""

    symmetry: str
    widths: tuple[int, ...]
    ratios: tuple[float, ...]  # of an MLP's channels to the width
    options: Options  # of the mixers that can have the symmetry

    def allows(self, *blocks: Block) -> Callable[[int], bool]:
        """A test of widths: in a stage of these blocks, every layer and head has whole fields, with some MLP ratio."""
        if self.symmetry == "none":
            return lambda _: True
        order = ORDER[self.symmetry]
        has_mlp = not all(mixers.trait(*block, "mixes_channels") for block in blocks)

        def allowed(width: int) -> bool:
            whole = not (width % order or any(mixers.narrowest(*block, width) % order for block in blocks))
            return whole and (not has_mlp or any(self.allows_ratio(width, ratio) for ratio in self.ratios))

        return allowed

    def allows_ratio(self, width: int, ratio: float) -> bool:
        return self.symmetry == "none" or int(ratio * width) % ORDER[self.symmetry] == 0

    def can_begin(self, block: Block, first: str) -> bool:
        """Whether a stage of `block` can begin with mixer `first`, whatever its options: some width allows both."""
        if self.symmetry == "none" or first in ("same", block[0]):
            return True
        return first in self.options and all(
            any(map(self.allows(block, (first, options)), self.widths))
            for options in choices(first, self.options[first])
        )


def tying(
    symmetry: str,
    names: Sequence[str],
    first: Sequence[str],
    width: Bound,
    mlp_ratio: Bound,
    options: Options,
    centre: bool = True,
) -> Tying:
    """What is left for `symmetry` of these bounds of a `HybridSpace`. centre: whether a mixer may know it.

    A mixer whose stages could not begin with any of `first` is left out, even if some have a single block.
    """
    named = [name for name in dict.fromkeys((*names, *first)) if name != "same"]
    bounds = {name: options.get(name, {}) for name in named}
    everything = Tying(symmetry, values(width), values(mlp_ratio), bounds)
    if symmetry == "none":
        return everything
    if isinstance(mlp_ratio, Range) and step_of(mlp_ratio) is None and mlp_ratio.low < mlp_ratio.high:
        everything = replace(everything, ratios=())  # hardly any ratio gives whole fields
    narrowed = ((name, _narrowed(name, own, everything, centre)) for name, own in bounds.items())
    able = replace(everything, options={name: own for name, own in narrowed if own is not None})
    begins = {
        name: all(any(able.can_begin((name, given), other) for other in first) for given in choices(name, own))
        for name, own in able.options.items()
    }
    return replace(able, options={name: own for name, own in able.options.items() if begins[name]})


def choices(name: str, bounds: Mapping[str, Bound]) -> Iterator[dict[str, Any]]:
    """The variants of mixer `name` with each number of heads, where it has such, within these bounds."""
    for variant in values(bounds.get("variant", mixers.variants(name) or (None,))):
        own = {} if variant is None else {"variant": variant}
        heads = bounds.get("heads", mixers.default_bounds(name, variant).get("heads"))
        if isinstance(heads, Range | tuple):
            yield from ({**own, "heads": number} for number in values(heads))
        else:
            yield own


def _narrowed(name: str, bounds: Mapping[str, Bound], everything: Tying, centre: bool) -> Mapping[str, Bound] | None:
    """The bounds with the variants and heads that some width allows; None if there are none."""
    every = list(choices(name, bounds))
    able = [
        given
        for given in every
        if mixers.trait(name, given, "equivariant")
        and (centre or not mixers.trait(name, given, "knows_centre"))
        and any(map(everything.allows((name, given)), everything.widths))
    ]
    narrowed = dict(bounds)
    for option in ("variant", "heads"):
        left = tuple(dict.fromkeys(given[option] for given in able if option in given))
        if len(left) < len({given[option] for given in every if option in given}):
            narrowed[option] = left
    # Options are picked one by one, so every combination of what is left must be able.
    return narrowed if able and all(given in able for given in choices(name, narrowed)) else None
