"""Sentences of the model card on where a model comes from: its networks, training, images, and how it was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas import words
from nas.words import (
    COSTS,
    count,
    describe_architecture,
    describe_data,
    describe_size,
    markdown,
    objective_name,
    override,
)  # fmt: skip
from trainers.batch.normalise import Normalisation
from trainers.config import TrainConfig
from trainers.metrics import base


def networks(members: Sequence[Mapping[str, Any]]) -> str:
    first = members[0]
    pruning = first.get("pruning", {"sparsity": 0.0, "nonzero_parameters": None})
    size = describe_size(first["parameters"], pruning["sparsity"], pruning["nonzero_parameters"])
    normalisation = Normalisation.from_json(first["normalisation"])
    seeds = f"seed{'s'[: len(members) > 1]} {', '.join(str(member['seed']) for member in members)}"
    counted = f", counted {first['times']} times each" if first["times"] > 1 else ""
    return (
        f"trial {first['trial']}, {seeds}{counted}: {markdown(describe_architecture(first['architecture']))}; {size}; "
        f"images normalised by {normalisation.describe()}; {first['training']['epochs']} epochs."
        f"{_pruning(first['training'])}"
    )


def _pruning(training: Mapping[str, Any]) -> str:
    if not training.get("sparsity"):
        return ""
    config = TrainConfig.from_dict(training)
    before = f"their values after epoch {config.rewind}" if config.rewind else "their initial values"
    return (
        f" After {count(config.prune_after, 'epoch')}, the smallest {100 * config.sparsity:.3g}% of the weights of its "
        f"inner layers were removed and the others set back to {before} (a lottery ticket, arXiv 1803.03635)."
    )


def choice(config: Mapping[str, Any]) -> str:
    search, members = config["search"], config["members"]
    if started := search.get("started"):
        return f"Fine-tuned: the weights started from those of the model {markdown(started)}."
    searched, named = config["data"].get("searched"), search.get("named", False)
    elsewhere = f" of a search on {markdown(describe_data(searched))}" if searched else ""
    validation = f"validation {search['objective']}"
    if search.get("cost"):
        validation += f" and {COSTS[search['cost']]}"
    among = f"among {count(search['finished'], 'finished trial')}{elsewhere}"
    again = f"then trained again{override(search.get('overridden', {}))}"
    judged = f"{objective_name(base(search['objective']))} of {held_out(config)}"
    if search["greedy"]:
        best = f"The best configurations by {validation} {among}"
        return (
            f"{'Configurations asked for by number' if named else best} were {again}. Forward selection with "
            f"replacement (Caruana et al. 2004) chose those in this model, how often each counts, and the number of "
            f"views by the {judged}. All seeds of a chosen configuration take part."
        )
    value = members[0]["validation"]
    reached = "" if value is None else f" ({words.value(value)} at full budget)"
    given = "given to the search, not found by it, and " * members[0].get("given", False)
    how = "asked for by its number, not " * named
    finals = ", and of trainings with fresh seeds in the search's finals," * (search.get("finals", False) and not named)
    chosen = f"The configuration was {given}{how}chosen by its {validation}{reached}{finals} {among}, {again}."
    seeds = " All its seeds take part, so the test images chose none."
    views = f" The number of views was chosen by the {judged}."
    alike = all(member["architecture"].get("symmetry") == "d4" for member in members)
    return chosen + seeds * (len(members) > 1) + views * (config["held_out"]["networks"] > 0 and not alike)


def held_out(config: Mapping[str, Any]) -> str:
    images, networks = config["held_out"]["images"], count(config["held_out"]["networks"], "network")
    return f"{images:,} validation images that {networks} predicted without having been trained on them"


def data(source: Mapping[str, Any]) -> str:
    known = "Trained on simulations" if source.get("kind") == "simulated" else "Trained on one set of images"
    return (
        f"{known}: the figures hold for images made the same way. Test it again for another telescope, pixel scale, "
        "noise or lens population."
    )


def axis(member: Mapping[str, Any]) -> str:
    by_weights = "By its weights, the network gives an image the same answer whether it is turned by quarters"
    match member["architecture"].get("symmetry"):
        case "d4":
            return f"{by_weights} or mirrored."
        case "c4":
            return f"{by_weights}. {_turned(member)}"
        case _:
            return _turned(member)


def _turned(member: Mapping[str, Any]) -> str:
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
