"""The sections on exported models, on the page of a retraining: what views, seeds and calibration are worth."""

from __future__ import annotations

from collections import Counter

from nas.report.document import html_table, section
from nas.retraining.retrained import Exported, Retrained
from nas.words import count, factors, metric_name, objective_name, value
from trainers import metrics, tasks


def views_and_ensembles(retrained: Retrained) -> str:
    """One network and the ensemble of each configuration, with one and with eight views."""
    first = retrained.configurations[0]
    main = [name for name in first.main if f"{name}_d4_views" in first.spread]
    lines, shown = [], [metric for name in main for metric in (name, f"{name}_d4_views")]
    for c in retrained.configurations:
        lines.append([str(c.trial), "one network", *(str(c.spread[m]) for m in shown)])
        if len(c.seeds) > 1:
            seeds = count(len(c.seeds), "network")
            lines.append(["", f"{seeds} together", *(value(c.ensemble[m]) for m in shown)])
    head = ["trial", "networks", *(f"{metric_name(name)}, {views}" for name in main for views in ("1 view", "8 views"))]
    caption = (
        "The same test images, as they are (1 view) and under all eight symmetries of the square, with the predictions "
        "combined (8 views). One network: mean ± sample standard deviation over the seeds. Nothing is calibrated here."
    )
    return section("Views and ensembles", caption, html_table(head, lines))


def exported_models(retrained: Retrained) -> str:
    """Every model: its networks, views and calibration, and its test metrics as it was exported."""
    main, calibrated = retrained.configurations[0].main, _calibrated(retrained)
    head = ["models/", "networks", "views", *(metric_name(name) for name in main if name not in calibrated)]
    if calibrated:
        head.append("temperature" if retrained.classes else "factor on sigma")
        head += [f"{metric_name(name)}, before → after" for name in calibrated]
    lines = []
    for model in retrained.exported:
        views = str(model.views)
        lines.append(
            [
                model.name, describe_members(model), views,
                *(value(model.test[views][name]) for name in main if name not in calibrated),
            ]
        )  # fmt: skip
        if calibrated:
            factor = model.calibration.get(views)
            lines[-1].append("–" if factor is None else factors(factor))
            lines[-1] += [f"{value(model.before[name])} → {value(model.test[views][name])}" for name in calibrated]
    return section("Exported models", _caption(retrained), html_table(head, lines))


def describe_members(model: Exported) -> str:
    """`3 of trial 4 (2x), 3 of trial 1`: the networks of each trial, and how often each counts."""
    found = Counter((member.trial, member.times) for member in model.members)
    return ", ".join(f"{n} of trial {trial}" + f" ({times}x)" * (times > 1) for (trial, times), n in found.items())


def _calibrated(retrained: Retrained) -> tuple[str, ...]:
    """The metrics that show what calibration does, if the task has them."""
    of_sigma = ("nll", "coverage_68") if tasks.of_name(retrained.task).with_sigma else ()
    wanted = ("loss", "ece") if retrained.classes else of_sigma
    return tuple(name for name in wanted if name in retrained.exported[0].before)


def _held_out(retrained: Retrained) -> str:
    """The networks by which views and calibration were chosen (`handing_out.held_out_jobs`)."""
    if tasks.of_name(retrained.task).with_sigma:
        return "the networks themselves"
    of_first = retrained.exported[0].held_out["networks"]
    if len(retrained.configurations) == 1:
        return count(of_first, "more network")
    return "one more network of each configuration" + f" ({of_first} of the first)" * (of_first > 1)


def _caption(retrained: Retrained) -> str:
    first, judged = retrained.exported[0], objective_name(metrics.base(retrained.objective))
    images, chosen = first.held_out["images"], ""
    if first.held_out["networks"]:
        alike = all(c.config["architecture"].get("symmetry") == "d4" for c in retrained.configurations)
        views = "The" if alike else "The number of views, the"  # alike: every view has the same answer
        chosen = (
            f" {views} calibration and the members of ensemble/ (forward selection with replacement, Caruana et al. "
            f"2004, by the {judged}) were chosen on {images:,} validation images, as predicted by "
            f"{_held_out(retrained)}, not trained on them."
        )
    classes = (
        " Probabilities are calibrated by a temperature (Guo et al. 2017); the calibration error is equation 3 there, "
        f"with {metrics.CALIBRATION_BINS} bins."
    )
    best = "winner of the search's finals" if retrained.finals else "best configuration by validation"
    which = best if retrained.winner else "first configuration"
    return (
        f"Test metrics of each model as it is exported; best/ is {first.name}/, all seeds of the {which}.{chosen}"
        f"{classes if retrained.classes else ''}"
    )
