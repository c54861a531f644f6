"""Numbers, architectures and data sources in words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainers.metrics import base
from trainers.plain import plain

if TYPE_CHECKING:
    from trainers.audit import Shortcut
    from trainers.data.axis import Axis


def describe_architecture(architecture: Mapping[str, Any]) -> str:
    """`conv×2(64) → ↓attention×3(96)`: mixer, blocks and channels of each stage; ↓ means that it halves the grid first.

    `conv+attention×3(48)`: the first of three blocks has another mixer. A mixer of one's own has its module's last
    name. `d4: ` in front: it is symmetric by construction; `polar: `: its front end. An architecture without stages is
    its kind and name, with what it starts from.
    """
    if "stages" in architecture:
        before = [architecture.get(part, "none") for part in ("front_end", "symmetry")]
        stages = [
            "↓" * bool(stage.get("downsample"))
            + "+".join(name.rpartition(".")[2] for name in stage_mixers(stage))
            + f"×{stage['depth']}({stage['width']})"
            for stage in architecture["stages"]
        ]
        return "".join(f"{part}: " for part in before if part != "none") + " → ".join(stages)
    name = " ".join(str(architecture[key]) for key in ("kind", "name") if key in architecture)
    started = architecture.get("pretrained") or architecture.get("checkpoint")
    frozen = f", {architecture['frozen']:.0%} frozen" if architecture.get("frozen") else ""
    return name + ", pretrained" * bool(started) + frozen


def stage_mixers(stage: Mapping[str, Any]) -> list[str]:
    """The mixers of a stage: that of its first block, if it has another one, and that of the others."""
    return list(dict.fromkeys(name for name in (stage.get("first"), stage["mixer"]) if name is not None))


def describe_data(source: Mapping[str, Any]) -> str:
    """Describe a data source (`trainers.data.source_to_dict`) in a few words."""
    rest = {k: v for k, v in source.items() if v is not None and v is not False and k != "kind"}
    size = f", {rest.pop('image_size')} px" if "image_size" in rest else ""
    if source.get("kind") == "simulated":
        words = f"{rest.pop('images'):,} simulated lenses{size}, population {rest.pop('preset')}"
    elif source.get("kind") == "folder":
        words = f"images in {rest.pop('path')}{size}"
    elif source.get("kind") == "function":
        words = f"images from {rest.pop('name')}{size}"
    elif source.get("kind") == "arrays":
        words = f"images in memory ({rest.pop('digest')[:8]}){size}"
    else:
        words = f"{source.get('kind')}{size}"
    listed = {k: ",".join(map(str, v)) if isinstance(v, list | tuple) else v for k, v in rest.items()}
    return ", ".join([words, *(f"{name} {value}" for name, value in listed.items())])


def describe_steps(training: Mapping[str, Any]) -> str:
    """`learning rate 0.002 (cosine), adamw, batches of 32`, from a training as JSON data."""
    rate = f"learning rate {training['learning_rate']:.2g} ({training.get('schedule')})"
    return f"{rate}, {training.get('optimiser')}, batches of {training.get('batch_size')}"


def describe_preparation(training: Mapping[str, Any]) -> str:
    """`asinh normalisation, augmentation d4`: what happens to the training images."""
    return f"{training.get('normalisation')} normalisation, {describe_augmentation(training)}"


def describe_augmentation(training: Mapping[str, Any]) -> str:
    """`augmentation d4, noise 0.1`: what changes the training images, from a training as JSON data."""
    changes = [
        name if value is True else f"{name} {value:g}"
        for name, value in training.get("augmentation", {}).items()
        if value
    ]
    return f"augmentation {', '.join(changes)}" if changes else "no augmentation"


COSTS = {"macs": "MACs", "parameters": "parameters"}


def objective_name(objective: str) -> str:
    """`auc_d4_worst` -> "AUC, worst of eight symmetries"."""
    for ending, words in (
        ("_d4_mean", ", mean of eight symmetries"), ("_d4_worst", ", worst of eight symmetries"),
        ("_d4_views", ", eight views"),
    ):  # fmt: skip
        if objective.endswith(ending):
            return objective_name(objective.removesuffix(ending)) + words
    found = {"auc": "AUC", "mae": "MAE", "rmse": "RMSE", "r2": "R²", "f1": "F1", "mcc": "MCC"}
    of_target = re.fullmatch(r"(mae|rmse|r2|bias|scatter|nll|coverage_68|z_rms)_(?!within|class_means)(.+)", objective)
    if of_target:  # the target's name stays as the data has it
        return f"{objective_name(of_target[1])} {of_target[2]}"
    return found.get(objective, objective.replace("_", " "))


def counterpart(objective: str) -> tuple[str, str]:
    """The metric that stands beside the objective, and its name there: the worst of an upright one, and vice versa."""
    upright = base(objective)
    return (f"{upright}_d4_worst", "worst of eight symmetries") if upright == objective else (upright, "upright")


def beside(objective: str, metrics: Mapping[str, float]) -> str:
    """`worst of eight symmetries 0.7100`: the objective's counterpart; empty if these metrics lack it."""
    name, words = counterpart(objective)
    found = metrics.get(name, math.nan)
    return f"{words} {value(found)}" if math.isfinite(found) else ""


def advice_on_axis(objective: str) -> str:
    """What to do if the images have a preferred axis; empty if the objective is measured over the symmetries anyway."""
    if objective != base(objective):
        return ""
    return (
        "the images have a preferred axis: a network can score high upright and fail on turned images; consider "
        f"--objective {objective}_d4_worst"
    )


def audit_line(axis: Axis, trees: Shortcut | None) -> str:
    """How far images lie in a preferred direction, and how far intensity statistics alone distinguish the classes."""
    line = f"{axis.share:.2f} of images distinguished from turned copies (0.50: no axis)"
    if trees is None:
        return line
    found = ": a shortcut, see python -m nas.audit" if trees.found else ""
    return f"{line}; classes from intensity statistics alone: AUC {trees.auc:.2f}{found}"


def metric_name(metric: str) -> str:
    name = {"loss": "log loss", "ap": "average precision", "ece": "calibration error", "f1": "macro F1"}.get(metric)
    if of_rate := re.fullmatch(r"tpr_at_fpr_([\d.]+)", metric):
        name = f"TPR at {100 * float(of_rate[1]):g}% false positives"
    if of_class := re.fullmatch(r"(auc|ap)_(?!d4_)(.+)", metric):  # the class's name stays as the data has it
        name = f"{metric_name(of_class[1])}, {of_class[2]}"
    if metric.endswith(("_d4_mean", "_d4_worst", "_d4_views")) and metric != (upright := base(metric)):
        name = metric_name(upright) + objective_name(metric).removeprefix(objective_name(upright))
    return name or objective_name(metric)


def baseline_name(name: str) -> str:
    """`resnet18` -> "ResNet-18"; a name of timm that we do not know stays as it is."""
    return {
        "statistics": "intensity statistics", "pca": "PCA + boosted trees", "cnn": "plain CNN", "resnet18": "ResNet-18",
        "densenet121": "DenseNet-121", "vit_tiny_patch16_224": "ViT-Tiny",
    }.get(name, name)  # fmt: skip


def si(number: float | None) -> str:
    """Three significant digits with k, M, G: 166679 -> 167 k."""
    if number is None:
        return "–"
    for scale, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= 0.9995 * scale:
            return f"{number / scale:.3g}{unit}"
    return f"{number:.3g}"


def describe_size(parameters: int | None, sparsity: float, nonzero: int | None) -> str:
    """`23.7 k parameters`, and the number that pruning left."""
    dense = f"{si(parameters)} parameters"
    return f"{dense}, {si(nonzero)} of them not zero (inner layers at sparsity {sparsity:.3g})" if sparsity else dense


def override(training: Mapping[str, Any]) -> str:
    """` with 60 epochs, sparsity 0.8 and rewind 1 instead of the search's own`; empty if nothing is overridden."""
    parts = [count(training["epochs"], "epoch")] if "epochs" in training else []
    if "sparsity" in training:
        parts += [f"sparsity {training['sparsity']:g}"] + [f"rewind {training['rewind']}"] * (training["sparsity"] > 0)
    if not parts:
        return ""
    *most, last = parts
    return f" with {' and '.join(filter(None, (', '.join(most), last)))} instead of the search's own"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"


def memory(megabytes: float | None) -> str:
    if not megabytes:  # 0: not measured
        return "–"
    return f"{megabytes:.0f} MB" if megabytes < 999.5 else f"{megabytes / 1024:.1f} GB"


def numbered(trial: int, given: bool) -> str:
    """`7`, or `7 (given)` for a trial whose configuration was given to the search, not found by it."""
    return f"{trial} (given)" if given else str(trial)


def count(number: int, noun: str) -> str:
    """`1 trial`, `3 trials`, `8 forward passes`."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def value(number: float, decimals: int = 4) -> str:
    """An objective to `decimals` decimals, or to as many significant digits if it is too small or too large."""
    fixed = number == 0 or 10 ** (1 - decimals) <= abs(number) < 1e4
    return f"{number:.{decimals}f}" if fixed else f"{number:.{decimals - 1}e}"


def factors(found: float | Sequence[float]) -> str:
    """Factors of a calibration: one, or one for each number."""
    return ", ".join(value(one, 3) for one in (found if isinstance(found, Sequence) else [found]))


def with_interval(number: float, low: float, high: float, *, sign: bool = False) -> str:
    """`0.021 (0.008 to 0.034)`: three decimals, or as many as the width needs to show two digits."""
    if extreme(number, low, high):
        form = f"{'+' * sign}.{_mantissa(max(map(abs, (number, low, high))), high - low) + 1}e"
        return f"{number:{form}} ({low:{form}} to {high:{form}})"
    digits = max(3, 1 - math.floor(math.log10(high - low))) if high - low > 1e-9 else 3  # less is rounding
    number, low, high = (each + 0.0 if round(each, digits) else 0.0 for each in (number, low, high))  # no -0.000
    form = f"{'+' * sign}.{digits}f"
    return f"{number:{form}} ({low:{form}} to {high:{form}})"


def level(values: Sequence[tuple[str, Any]]) -> str:
    """A level of a factor from its (parameter, value) pairs: `learnable, blocks, shared False`."""
    if len(values) == 1:
        return _setting(values[0][1])
    return ", ".join(v if isinstance(v, str) else f"{n.rpartition('.')[2]} {_setting(v)}" for n, v in values)


def _setting(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def between(low: float, high: float) -> str:
    """`0.008 to 0.034`: as in `with_interval`."""
    return with_interval(low, low, high).partition(" (")[2].rstrip(")")


def _mantissa(largest: float, width: float | None) -> int:
    """The decimals of a number with an exponent that show one digit of a width; 2 at least, 12 at most."""
    if not width or not largest:
        return 2
    return min(max(math.floor(math.log10(largest)) - math.floor(math.log10(width)), 2), 12)


def extreme(*numbers: float) -> bool:
    """Whether the largest of these cannot be read without an exponent, such as a mass in kilograms."""
    largest = max(map(abs, numbers))
    return largest >= 1e6 or 0 < largest < 1e-6


def plus_minus(number: float, half: float | None, *, sign: bool = False) -> str:
    """`0.9123 ± 0.0045`: four decimals, or as many as the second number needs to show a digit."""
    if extreme(number, half or 0.0):
        return f"{number:{'+' * sign}.{max(_mantissa(abs(number), half), 3)}e}" + (
            "" if half is None else f" ± {half:.1e}"
        )
    if half is None and not sign:
        return value(number)
    scale = half or abs(number)
    decimals = max(4, -math.floor(math.log10(scale))) if scale > 1e-9 else 4  # less is rounding
    return f"{number:{'+' * sign}.{decimals}f}" + (f" ± {half:.{decimals}f}" if half is not None else "")


def markdown(text: str) -> str:
    """Escape names that others have given: no markup, no HTML, no control characters."""
    return re.sub(r"[\\`*\[\]<>|#~&!$]|(?<!\w)_|_(?!\w)", r"\\\g<0>", plain(text).replace("\n", r"\n"))
