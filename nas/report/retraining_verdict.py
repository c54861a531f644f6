"""What a retraining has found, in a few sentences: above chance or not, which configurations differ, the baselines."""

from __future__ import annotations

from nas.report import baselines, noise
from nas.retraining.retrained import Retrained
from nas.words import capital, count, metric_name, override, value, with_interval


def verdict(retrained: Retrained) -> list[str]:
    """The sentences. Intervals are those of `Certainty`: over test images and, of several, seeds."""
    return [line for line in (_first(retrained), _others(retrained), _against_baselines(retrained)) if line]


def _first(retrained: Retrained) -> str:
    first, certainty = retrained.configurations[0], retrained.certainty[0]
    name, images = first.main[0], count(retrained.data["test"], "test image")
    best = "the winner of the search's finals" if retrained.finals else "the best by validation"
    replaced = override(retrained.overridden)
    about = [best] * retrained.winner + [f"retrained{replaced}"] * bool(replaced)
    subject = ", ".join([f"trial {first.label}", *about]) + "," * bool(about)
    line = f"On {images}, {subject} reaches {metric_name(name)} "
    if name not in certainty.interval:
        return f"{line}{value(first.spread[name].mean, 3)}."
    over = f"images and {count(len(first.seeds), 'seed')}" if len(first.seeds) > 1 else "images, with a single seed"
    low, high = certainty.interval[name]
    line += f"{with_interval(first.spread[name].mean, low, high)[:-1]} over {over})"
    nothing = noise.chance(name)
    if nothing is None:
        return f"{line}."
    return f"{line}, {'above' if low > nothing else 'which is not above'} chance ({nothing:g})."


def _others(retrained: Retrained) -> str:
    """Which other configurations differ from the first by more than the noise."""
    name, pairs = retrained.configurations[0].main[0], zip(retrained.configurations, retrained.certainty, strict=True)
    found = [(c.label, certainty.difference[name]) for c, certainty in pairs if name in certainty.difference]
    if not found:
        return ""
    told = [
        f"trial {label} differs from it by {with_interval(*d, sign=True)}"
        for label, d in found
        if not d[1] <= 0 <= d[2]
    ]
    same = [f"trial {label}" for label, d in found if d[1] <= 0 <= d[2]]
    single = " over images alone" if all(len(c.seeds) == 1 for c in retrained.configurations) else ""
    parts = [
        f"{_listed(told)}{single}" if told else "",
        f"whether {_listed(same)} {'differ' if len(same) > 1 else 'differs'} from it is not decided" if same else "",
    ]
    line = "; ".join(filter(None, parts))
    return f"{capital(line)}."


def _against_baselines(retrained: Retrained) -> str:
    if not retrained.verdicts:
        return ""
    line = baselines.sentence(retrained.verdicts[0])
    return f"{capital(line)}."


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
