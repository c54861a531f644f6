"""The model card: what to know before using an exported model."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from nas.models import card_origin as origin
from nas.words import between, count, describe_data, factors, markdown, metric_name, plus_minus, si, value
from trainers import tasks
from trainers.data.folder.fit import in_words
from trainers.metrics import CALIBRATION_BINS, OF_LABELS, TPR, base

LEADING = ("auc", "mae")  # shown for the turned and mirrored test images too
OF_CLASSES = ("auc", "accuracy", *OF_LABELS, "loss", "ece", *TPR)
SHOWN = (*OF_CLASSES, "mae", "rmse", "r2", "bias", "scatter", "nll", "coverage_68")
TURNED = tuple(f"{name}_d4_{of}" for name in LEADING for of in ("mean", "worst"))

USE = """```python
import nas

model = nas.load_model("path/of/this/folder")
print(nas.predict(model, ["lens.npy"]))  # files, folders, or arrays (N, {chans}, H, W)
```

From a shell, use `python -m nas.predict --model path/of/this/folder lens.npy folder/of/images`. For the metrics on
other images, use `python -m nas.evaluate --model path/of/this/folder --data another/set`. `views=` and `--views`
choose another number of views."""


def model_card(config: Mapping[str, Any], use: str | None = None) -> str:
    """Write the card in Markdown from the contents of config.json; `use` replaces what it says of how to use it."""
    search, data, task = config["search"], config["data"], config["task"]
    size, members = config["image_size"], config["members"]
    trials = [list(of_trial) for _, of_trial in groupby(members, key=lambda member: member["trial"])]
    networks = "\n".join(f"  * {origin.networks(of_trial)}" for of_trial in trials)
    training = "\n".join(f"* {sentence}" for sentence in dict.fromkeys(origin.axis(m) for m in members))
    return f"""# {markdown(search["study"])}, {markdown(config["name"])}

{_about_task(task)}

* **Model**: {_about_model(config)}
{networks}
* **Images**: {config["in_chans"]} x {size} x {size}{_about_channels(config)}; {_about_reading(config)}resized \
({config["resize"]}) if necessary, then normalised. `nas.predict` does the same.
* **Trained on**: {markdown(describe_data(data["source"]))}; {data["train"]:,} images, weights of the last epoch.
* **Cost**: {_about_cost(config)}

## On {data["test"]:,} test images, read once after training

{_table(config)}

{_about_targets(task)}{_about_members(config)}{origin.choice(config)}

## Use

{USE.format(chans=config["in_chans"]) if use is None else use}

## Limits

* {origin.data(data["source"])}
{training}
* {_about_answers(config)}

{", ".join(f"{name} {value}" for name, value in config["versions"].items())}
"""


def _about_channels(config: Mapping[str, Any]) -> str:
    channels = config.get("channels")
    return f" of {', '.join(channels)}" if channels else ""


def _about_reading(config: Mapping[str, Any]) -> str:
    reading = config.get("reading", {})
    clip, fit = reading.get("clip"), reading.get("fit")
    clipped = f"clipped at the percentiles {clip[0]:g} and {clip[1]:g}, " if clip else ""
    return clipped + (f"{in_words(fit)} pixels, " if fit else "")


def _about_model(config: Mapping[str, Any]) -> str:
    networks, views = len(config["members"]), config["views"]
    of = "one network" if networks == 1 else f"the combined prediction of {networks} networks"
    if views == 1:
        return f"{of}, which sees each image as it is."
    each = "which sees" if networks == 1 else "each of which sees"
    return (
        f"{of}, {each} all eight symmetries of the square; the prediction is the same for a turned or mirrored image."
    )


def _about_cost(config: Mapping[str, Any]) -> str:
    networks, views = len(config["members"]), config["views"]
    macs = [member["macs"] for member in config["members"]]
    total = None if None in macs else views * sum(macs)
    passes = f"{count(networks, 'network')} x {count(views, 'view')} = " if networks * views > 1 else ""
    once = count(networks * views, "forward pass")
    return f"{passes}{once}, {si(total)} multiply-accumulates per image."


def _table(config: Mapping[str, Any]) -> str:
    test, views = config["test"], config["views"]
    columns = [f"this model ({count(views, 'view')})"]
    if views > 1:
        known = "1" in config["calibration"] or not config["calibration"]
        columns.append("with 1 view" if known else "with 1 view, not calibrated")
    alone = test["alone"]
    n = next(iter(alone.values()))["n"]
    columns.append(f"one network, 1 view: mean ± standard deviation of {n}")
    lines = [f"| | {' | '.join(columns)} |", "|" + "---|" * (1 + len(columns))]
    of_targets = [f"{name}_{target}" for name in SHOWN for target in config["task"].get("target", ())]
    own = base(config["search"].get("objective", ""))
    for name in (name for name in alone if name in (*SHOWN, *TURNED, *of_targets, own)):
        values = [value(test["views"][key][name]) for key in dict.fromkeys((str(views), "1"))]
        if name in test.get("interval", {}):
            low, high = test["interval"][name]
            values[0] += f" (95% interval {between(low, high)})"
        mean, sd = alone[name]["mean"], alone[name]["sd"]
        values.append(plus_minus(mean, sd) + " ± –" * (sd is None))
        lines.append(f"| {markdown(metric_name(name))} | {' | '.join(values)} |")
    return "\n".join(lines)


def _about_targets(task: Mapping[str, Any]) -> str:
    """In which unit errors of several numbers together are; empty for one."""
    if len(task.get("target", ())) < 2:
        return ""
    return (
        "Errors without the name of a number are means over the numbers, each in units of its standard deviation over "
        "the training images.\n\n"
    )


def _about_members(config: Mapping[str, Any]) -> str:
    """How much the errors of an ensemble's networks have in common; empty for one network."""
    correlation = config["test"].get("correlation")
    if correlation is None:
        return ""
    error = "1 minus the probability of the true class" if config["task"].get("classes") else "predicted minus true"
    return (
        f"The errors of two of its networks ({error}, one view) correlate by {correlation:.2f} on average over the "
        "pairs: at 1 their combination gains nothing over one network, at 0 the most.\n\n"
    )


def _about_task(task: Mapping[str, Any]) -> str:
    if task.get("classes"):
        classes = ", ".join(map(markdown, task["classes"]))
        return f"Distinguishes {classes} in images of strong gravitational lenses ({task['name']})."
    measured = tasks.from_record(task)
    sigma = ", with a standard deviation for each image" if measured.with_sigma else ""
    return f"Measures {markdown(tasks.quantity(measured) or task['name'])} from images of lenses{sigma}."


def _about_answers(config: Mapping[str, Any]) -> str:
    task, factor = config["task"], config["calibration"].get(str(config["views"]))
    if task.get("classes"):
        every = "Every image gets one of the classes above, whether or not it shows a lens."
        if factor is None:
            return f"{every} Probabilities were not calibrated."
        return (
            f"{every} Probabilities were calibrated with temperature {factor:.2f} (Guo et al. 2017), fitted to "
            f"{origin.held_out(config)}." + _went(config, {
                "loss": "the log loss",
                "ece": f"the calibration error (ECE, equation 3 there, {CALIBRATION_BINS} bins)",
            })
        )  # fmt: skip
    every = "Every image gets a value, whether or not it shows a lens that has the quantity."
    if not tasks.from_record(task).with_sigma:
        return every
    if factor is None:
        return f"{every} Standard deviations were scaled for each network alone."
    return (
        f"{every} Standard deviations were scaled by {factors(factor)} to fit the errors on {origin.held_out(config)}."
        + _went(config, {
            "nll": "the negative log-likelihood",
            "coverage_68": "the share of errors below one standard deviation (0.683 if right)",
        })
    )  # fmt: skip


def _went(config: Mapping[str, Any], called: Mapping[str, str]) -> str:
    """From where to where calibration moved the metrics that the task has, by what they are called."""
    before, after = config["test"]["before"], config["test"]["views"][str(config["views"])]
    known = [name for name in called if name in before]
    moved = [f"{called[name]} went from {value(before[name])} to {value(after[name])}" for name in known]
    return f" On the test images {' and '.join(moved)}." if moved else ""
