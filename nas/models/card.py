"""The model card: what to know before using an exported model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from nas.words import (
    COSTS,
    count,
    describe_architecture,
    describe_data,
    describe_size,
    metric_name,
    objective_name,
    override,
    si,
)
from trainers import tasks
from trainers.batch.normalise import Normalisation
from trainers.config import TrainConfig
from trainers.data.folder.fit import in_words
from trainers.metrics import CALIBRATION_BINS, OF_LABELS, TPR, base
from trainers.plain import plain

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


def markdown(text: str) -> str:
    """Escape names that others have given: no markup, no HTML, no control characters."""
    return re.sub(r"[\\`*\[\]<>|#~&!]|(?<!\w)_|_(?!\w)", r"\\\g<0>", plain(text).replace("\n", r"\n"))


def model_card(config: Mapping[str, Any], use: str | None = None) -> str:
    """Write the card in Markdown from the contents of config.json; `use` replaces what it says of how to use it."""
    search, data, task = config["search"], config["data"], config["task"]
    size, members = config["image_size"], config["members"]
    trials = [list(of_trial) for _, of_trial in groupby(members, key=lambda member: member["trial"])]
    networks = "\n".join(f"  * {_about_networks(of_trial)}" for of_trial in trials)
    training = "\n".join(f"* {sentence}" for sentence in dict.fromkeys(_about_axis(m) for m in members))
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

{_about_members(config)}{_about_choice(config)}

## Use

{USE.format(chans=config["in_chans"]) if use is None else use}

## Limits

* {_about_data(data["source"])}
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


def _about_networks(members: Sequence[Mapping[str, Any]]) -> str:
    first = members[0]
    pruning = first.get("pruning", {"sparsity": 0.0, "nonzero_parameters": None})
    size = describe_size(first["parameters"], pruning["sparsity"], pruning["nonzero_parameters"])
    normalisation = Normalisation.from_json(first["normalisation"])
    seeds = f"seed{'s'[: len(members) > 1]} {', '.join(str(member['seed']) for member in members)}"
    counted = f", counted {first['times']} times each" if first["times"] > 1 else ""
    return (
        f"trial {first['trial']}, {seeds}{counted}: {markdown(describe_architecture(first['architecture']))}; {size}; "
        f"images normalised by {normalisation.describe()}; {first['training']['epochs']} epochs."
        f"{_about_pruning(first['training'])}"
    )


def _about_cost(config: Mapping[str, Any]) -> str:
    networks, views = len(config["members"]), config["views"]
    macs = [member["macs"] for member in config["members"]]
    total = None if None in macs else views * sum(macs)
    passes = f"{count(networks, 'network')} x {count(views, 'view')} = " if networks * views > 1 else ""
    once = count(networks * views, "forward pass").replace("passs", "passes")
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
        values = [f"{test['views'][key][name]:.4f}" for key in dict.fromkeys((str(views), "1"))]
        if name in test.get("interval", {}):
            low, high = test["interval"][name]
            values[0] += f" (95% interval {low:.4f} to {high:.4f})"
        sd = alone[name]["sd"]
        values.append(f"{alone[name]['mean']:.4f} ± {'–' if sd is None else format(sd, '.4f')}")
        lines.append(f"| {markdown(metric_name(name))} | {' | '.join(values)} |")
    return "\n".join(lines)


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


def _about_choice(config: Mapping[str, Any]) -> str:
    search, members, held_out = config["search"], config["members"], config["held_out"]
    if started := search.get("started"):
        return f"Fine-tuned: the weights started from those of the model {markdown(started)}."
    searched, named = config["data"].get("searched"), search.get("named", False)
    elsewhere = f" of a search on {markdown(describe_data(searched))}" if searched else ""
    validation = f"validation {search['objective']}"
    if search.get("cost"):
        validation += f" and {COSTS[search['cost']]}"
    among = f"among {count(search['finished'], 'finished trial')}{elsewhere}"
    again = f"then trained again{override(search.get('overridden', {}))}"
    judged = f"{objective_name(base(search['objective']))} of {_held_out(config)}"
    if search["greedy"]:
        best = f"The best configurations by {validation} {among}"
        return (
            f"{'Configurations asked for by number' if named else best} were {again}. Forward selection with "
            f"replacement (Caruana et al. 2004) chose those in this model, how often each counts, and the number of "
            f"views by the {judged}. All seeds of a chosen configuration take part."
        )
    value = members[0]["validation"]
    reached = "" if value is None else f" ({value:.4f} at full budget)"
    given = "given to the search, not found by it, and " * members[0].get("given", False)
    how = "asked for by its number, not " * named
    judged_again = ", and by that of trainings with fresh seeds in the search's finals" * search.get("finals", False)
    chosen = f"The configuration was {given}{how}chosen by its {validation}{reached}{judged_again} {among}, {again}."
    seeds = " All its seeds take part, so the test images chose none."
    views = f" The number of views was chosen by the {judged}."
    return chosen + seeds * (len(members) > 1) + views * (held_out["networks"] > 0)


def _held_out(config: Mapping[str, Any]) -> str:
    held_out = config["held_out"]
    networks = count(held_out["networks"], "network")
    return f"{held_out['images']:,} validation images that {networks} predicted without having been trained on them"


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
            f"{_held_out(config)}. On the test images the log loss went from {_went(config, 'loss')} and the "
            f"calibration error (ECE, equation 3 there, {CALIBRATION_BINS} bins) from {_went(config, 'ece')}."
        )
    every = "Every image gets a value, whether or not it shows a lens that has the quantity."
    if not tasks.from_record(task).with_sigma:
        return every
    if factor is None:
        return f"{every} Standard deviations were scaled for each network alone."
    return (
        f"{every} Standard deviations were scaled by {factor:.2f} to fit the errors on {_held_out(config)}. On the "
        f"test images the negative log-likelihood went from {_went(config, 'nll')} and the share of errors below one "
        f"standard deviation (0.683 if right) from {_went(config, 'coverage_68')}."
    )


def _went(config: Mapping[str, Any], metric: str) -> str:
    test = config["test"]
    return f"{test['before'][metric]:.4f} to {test['views'][str(config['views'])][metric]:.4f}"


def _about_pruning(training: Mapping[str, Any]) -> str:
    if not training.get("sparsity"):
        return ""
    config = TrainConfig.from_dict(training)
    before = f"their values after epoch {config.rewind}" if config.rewind else "their initial values"
    return (
        f" After {count(config.prune_after, 'epoch')}, the smallest {100 * config.sparsity:.3g}% of the weights of its "
        f"inner layers were removed and the others set back to {before} (a lottery ticket, arXiv 1803.03635)."
    )


def _about_data(source: Mapping[str, Any]) -> str:
    known = "Trained on simulations" if source.get("kind") == "simulated" else "Trained on one set of images"
    return (
        f"{known}: the figures hold for images made the same way. Test it again for another telescope, pixel scale, "
        "noise or lens population."
    )


def _about_axis(member: Mapping[str, Any]) -> str:
    if member["architecture"].get("symmetry") == "d4":
        return (
            "By its weights, the network gives an image the same answer whether it is turned by quarters or mirrored."
        )
    augmentation = member["training"]["augmentation"]
    most, quarters = augmentation["rotation"], augmentation.get("d4", False)
    if most >= 180 or (quarters and most >= 45):
        return "Training images were turned by random angles, so no direction on the sky is preferred."
    turned = f"at most {most:g} degrees"
    if quarters:
        turned = "random quarter turns" + (f" and {turned} more" if most else "")
    return (
        f"Training images were turned by {turned}: if they have a preferred axis, as published simulations do, the "
        "network may rely on it and fail on images turned differently."
    )
