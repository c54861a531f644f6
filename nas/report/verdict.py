"""What a search has found, in two or three sentences that say what is decided and what is not."""

from __future__ import annotations

import math

from nas.report import noise
from nas.report.baselines import sentence
from nas.report.effects import Difference
from nas.results import Results
from nas.retraining.comparison import Verdict
from nas.retraining.retrained import of_today
from nas.trials import Trial
from nas.words import count, objective_name, override, value, with_interval
from trainers.estimate import limited


def verdict(results: Results) -> list[str]:
    """The sentences: the best configuration, its lead over the given or found ones, and the baselines."""
    return of_search(results) if results.best is None else [*of_search(results), baselines(results)]


def of_search(results: Results) -> list[str]:
    """The sentences that need no retraining: the best configuration, and its lead."""
    if results.best is None:
        return ["No configuration has been trained in full yet."]
    return [_best(results, results.best), _lead(results, results.best)]


def _best(results: Results, best: Trial) -> str:
    mean, over_seeds, trained = _known(results, best)
    name, where = objective_name(results.objective), "given to the search" if best.given else "found by the search"
    images = noise.of_images(results, mean)
    parts = [part for part in (over_seeds, images and noise.Z * images) if part is not None]
    of = " and ".join(["over seeds"] * (over_seeds is not None) + [_images(results)] * (images is not None))
    half = math.hypot(*parts)
    low, high = limited(results.objective, (mean - half, mean + half))
    interval = f" (95% interval {of}: {value(low, 3)} to {value(high, 3)})" if parts else ""
    line = f"The best configuration, trial {best.number}, was {where} and reaches {name} {value(mean, 3)}{interval}"
    if trained == 1:
        line += ", in a single training"
    nothing = noise.chance(results.objective)
    if nothing is not None and not noise.above_chance(results, mean):
        return f"{line}; that is not above chance, {nothing:g}."
    return f"{line}."


def _lead(results: Results, best: Trial) -> str:
    rival, what = _rival(results, best)
    if rival is None:
        return "No other configuration has been trained in full."
    here, there = _known(results, best), _known(results, rival)
    ahead = (here[0] - there[0]) * (1 if results.maximize else -1)
    images = noise.Z * (noise.of_images(results, here[0]) or 0.0)
    seeds = _over_seeds(results, best, rival, here, there)
    half = math.hypot(seeds or 0.0, images)
    amount = with_interval(ahead, ahead - half, ahead + half) if half else value(ahead, 3)
    of = " and of ".join(["seeds"] * (seeds is not None) + [_count(results)] * bool(images))
    if ahead < 0 and (why := _barred(results, rival)):
        amount = with_interval(-ahead, -ahead - half, -ahead + half) if half else value(-ahead, 3)
        return f"It is behind {what}, by {amount}, but that one {why}, so it cannot win."
    if not half or (seeds is None and ahead > half):
        once = [f"trial {t.number}" for t, known in ((best, here), (rival, there)) if known[2] == 1]
        why = f"{'each' if len(once) == 2 else once[0]} was trained once" if once else "they share too few seeds"
        return f"It is ahead of {what}, by {amount}, but {why}: whether other seeds give the same order is not decided."
    if ahead > half:
        return f"It is ahead of {what}, by {amount}, which is more than the noise of {of}."
    return f"Whether it is better than {what}, is not decided: the difference, {amount}, is within the noise of {of}."


def _rival(results: Results, best: Trial) -> tuple[Trial | None, str]:
    """With which configuration the best is compared, and what that is."""
    others = [cell.trials[0] for cell in results.cells() if best not in cell.trials]
    if any(t.given for t in (best, *others)):
        other = next((t for t in others if t.given != best.given), None)
        if other is not None:
            kind = "configuration that was given" if other.given else "configuration that the search found"
            return other, f"the best {kind}, trial {other.number}"
    second = next(iter(others), None)
    return second, "" if second is None else f"the second, trial {second.label}"


def _barred(results: Results, rival: Trial) -> str:
    """Why a configuration cannot win, whatever its value; empty if it can."""
    if results.grid:
        lacking = any(rival in c.trials and len(c.trials) < results.spec.get("seeds", 1) for c in results.cells())
        return "lacks a seed" * lacking
    return "failed when it was trained again" * (rival.number in results.again()[1])


def _known(results: Results, trial: Trial) -> tuple[float, float | None, int]:
    """The mean over seeds of a configuration, half its 95% interval, and the number of trainings.

    The finals estimate both (nas/finalists.py). In a grid they are those of the cell, by the t-test.
    Otherwise only the value of the one training is known.
    """
    found = next((f for f in results.estimates() if f.trial == trial.number), None)
    if found is not None and results.finalists():
        return found.mean, noise.Z * found.sd, 1 + len(found.fresh)
    cell = next((c for c in results.cells() if trial in c.trials), None)
    if not results.grid or cell is None or len(cell.trials) == 1:
        return trial.value, None, 1
    over_seeds = Difference.of([t.value for t in cell.trials])
    assert over_seeds is not None
    return over_seeds.mean, over_seeds.half, over_seeds.pairs


def _over_seeds(
    results: Results, best: Trial, rival: Trial, here: tuple[float, float | None, int],
    there: tuple[float, float | None, int],
) -> float | None:  # fmt: skip
    """Half the 95% interval of the difference of two configurations over seeds; None for single ones."""
    if results.grid:  # the same seeds
        of = {t.number: c for c in results.cells() for t in c.trials}
        mine, other = ({t.config.get("seed"): t.value for t in of[n.number].trials} for n in (best, rival))
        paired = Difference.of([mine[seed] - other[seed] for seed in mine if seed in other])
        return None if paired is None else paired.half
    return None if here[1] is None or there[1] is None else math.hypot(here[1], there[1])


def _images(results: Results) -> str:
    return f"over {_count(results)}"


def _count(results: Results) -> str:
    return count(results.validated, "validation image")


def baselines(results: Results) -> str:
    """How the best configuration, or else the first one retrained, compares with the baselines."""
    record = results.retraining() or {}
    if verdicts := record.get("verdicts"):
        best = results.best.number if results.best else None
        with of_today():
            chosen = next((v for v in verdicts if v["trial"] == best), verdicts[0])
            how = override(record.get("overridden", {}))
            return f"Retrained{how}, on the test images, {sentence(Verdict(**chosen))}."
    return "How it compares with the baselines is not known yet: nas.retrain trains them on the same images."
