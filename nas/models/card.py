"""The model card: what to know before using an exported network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.words import count, describe_architecture, describe_data, describe_size, metric_name, override, si
from trainers import tasks
from trainers.batch.normalise import Normalisation
from trainers.config import TrainConfig
from trainers.metrics import SYMMETRIC

LEADING = ("auc", "mae")  # shown for the turned and mirrored test images too
SHOWN = ("auc", "accuracy", "loss", "mae", "rmse", "r2", "bias", "scatter", "nll", "coverage_68")


def model_card(config: Mapping[str, Any]) -> str:
    """Write the card in Markdown from the contents of config.json."""
    search, test, data, task = config["search"], config["test"], config["data"], config["task"]
    size, training = config["image_size"], config["training"]
    seeds = ", ".join(map(str, test["seeds"]))
    pruning = config.get("pruning", {"sparsity": 0.0, "nonzero_parameters": None})
    parameters = describe_size(search["parameters"], pruning["sparsity"], pruning["nonzero_parameters"])
    cost = f"{parameters}, {si(search['macs'])} multiply-accumulates per image"
    normalisation = Normalisation.from_json(config["normalisation"])
    prepared = f"resized ({config['resize']}) if necessary, then normalised ({normalisation.describe()})"
    return f"""# {search["study"]}, trial {search["trial"]}

{_about_task(task)}

* **Network**: {describe_architecture(config["architecture"])}; {cost}.
* **Images**: {config["in_chans"]} x {size} x {size}; {prepared}. `nas.predict` does both.
* **Trained on**: {describe_data(data["source"])}; {data["train"]:,} images, \
{training["epochs"]} epochs, weights of the last epoch.{_about_pruning(training)}

## On {data["test"]:,} test images, read once after training

| | this network (seed {config["seed"]}) | mean ± standard deviation of seeds {seeds} | ensemble of all seeds |
|---|---|---|---|
{_rows(config["seed"], test)}

The configuration was {"given to the search, not found by it, and " * search.get("given", False)}chosen by its \
validation {search["objective"]} ({search["validation"]:.4f} at full budget) among \
{count(search["finished"], "finished trial")}, then trained again{override(search.get("overridden", {}))}. \
The weights here are those of the first seed, not of the best.

## Use

```python
import nas

model = nas.load_model("path/of/this/folder")
print(nas.predict(model, ["lens.npy"]))  # files, folders, or arrays (N, {config["in_chans"]}, H, W)
```

From a shell, use `python -m nas.predict --model path/of/this/folder lens.npy folder/of/images`. For the metrics on
other images, use `python -m nas.evaluate --model path/of/this/folder --data another/set`.

## Limits

* {_about_data(data["source"])}
* {_about_axis(training["augmentation"])}
* {_about_answers(task)}

{", ".join(f"{name} {value}" for name, value in config["versions"].items())}
"""


def _rows(seed: int, test: Mapping[str, Any]) -> str:
    own = test["of_seed"][str(seed)]
    turned = {f"{name}{ending}" for name in LEADING for ending in SYMMETRIC}
    names = [name for name in own if name in SHOWN or name in turned]
    return "\n".join(
        f"| {metric_name(name)} | {own[name]:.4f} | {test['mean'][name]:.4f} ± "
        f"{'–' if test['sd'][name] is None else format(test['sd'][name], '.4f')} | {test['ensemble'][name]:.4f} |"
        for name in names
    )


def _about_task(task: Mapping[str, Any]) -> str:
    if task.get("classes"):
        return f"Distinguishes {', '.join(task['classes'])} in images of strong gravitational lenses ({task['name']})."
    kind = tasks.of_name(task["name"])
    sigma = ", with a standard deviation for each image" if kind.with_sigma else ""
    return f"Measures the {kind.quantity}{f' [{kind.unit}]' * bool(kind.unit)} from images of lenses{sigma}."


def _about_answers(task: Mapping[str, Any]) -> str:
    if task.get("classes"):
        every = "Every image gets one of the classes above, whether or not it shows a lens."
        return f"{every} Probabilities were not calibrated."
    every = "Every image gets a value, whether or not it shows a lens that has the quantity."
    if not tasks.of_name(task["name"]).with_sigma:
        return every
    return (
        f"{every} Standard deviations were scaled by {task['sigma_scale']:.2f} to fit the errors on validation images."
    )


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


def _about_axis(augmentation: Mapping[str, Any]) -> str:
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
