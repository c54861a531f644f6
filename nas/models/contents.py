"""The contents of config.json: everything needed to build a model's networks and to prepare images for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nas.own_code import own_code
from nas.versions import installed
from trainers import tasks
from trainers.batch.normalise import Normalisation
from trainers.calibrate import Factor
from trainers.data.folder.image_file import AS_STORED, Reading
from trainers.tasks import Named, Task

FORMAT = 2  # format 1 held one network, whose weights had no prefix
RESIZE = "bilinear, antialiased"  # trainers.data.folder.fit.resize


def describe_member(
    config: Mapping[str, Any],
    *,
    task_name: Named,
    task: Task,
    normalisation: Normalisation,
    times: int = 1,
    **origin: Any,
) -> dict[str, Any]:
    """One of the `members` in config.json. `config` is a `Configuration` as a dict; `origin` adds what the card shows.

    The network counts `times` in the combined prediction.
    """
    return {
        "times": times,
        "architecture": config["architecture"],
        "normalisation": normalisation.to_json(),
        "task": tasks.to_record(task_name, task),
        "training": config["training"],
        "seed": config["seed"],
        **origin,
    }


def describe_model(
    members: Sequence[Mapping[str, Any]],
    *,
    task_name: Named,
    task: Task,
    in_chans: int,
    image_size: int,
    reading: Reading = AS_STORED,
    channels: Sequence[str] = (),
    views: int = 1,
    calibration: Mapping[str, Factor] | None = None,
    **origin: Any,
) -> dict[str, Any]:
    """The contents of config.json, of `members` by `describe_member`; `origin` adds what else the card shows.

    `channels` names the bands or HDUs that the training images came from.
    `calibration` holds the factor of `trainers.calibrate` for "1" view or "8", where it is known.
    """
    return {
        "format": FORMAT,
        "in_chans": in_chans,
        "image_size": image_size,
        "num_outputs": task.num_outputs,
        "task": tasks.to_record(task_name, task),
        "reading": asdict(reading),
        "channels": list(channels),
        "resize": RESIZE,
        "views": views,
        "calibration": dict(calibration or {}),
        "members": list(members),
        **origin,
        "code": own_code({name for member in members for name in _mixers(member["architecture"])}, task_name),
        "versions": {name: installed(name) for name in ("lensing-nas", "torch", "timm")},
    }


def _mixers(architecture: Mapping[str, Any]) -> list[str]:
    stages = architecture.get("stages", ())
    return [stage["mixer"] for stage in stages] + [stage["first"] for stage in stages if stage.get("first")]
