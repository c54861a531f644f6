"""Check config.json of a model's folder, which anybody may have written, before a network is built from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from numbers import Real
from typing import Any

from nas.checks import check_number
from nas.errors import UserError
from search_space import Architecture, from_dict
from trainers import tasks
from trainers.batch.normalise import Normalisation
from trainers.data.folder.fit import checked as checked_fit
from trainers.data.folder.fit import side
from trainers.data.folder.image_file import Reading
from trainers.errors import TrainingError
from trainers.tasks import Task

LARGEST = {"in_chans": 1024, "image_size": 16384, "num_outputs": 10_000}
VIEWS = (1, 8)


def checked(views: Any) -> int:
    """`views`. UserError unless it is 1 or 8."""
    if isinstance(views, bool) or views not in VIEWS:
        raise UserError(f"views is {views!r}; expected 1, the image as it is, or 8, all symmetries of the square")
    return int(views)


def architectures(config: Mapping[str, Any]) -> list[Architecture]:
    """The networks that a model of this `config` has, once everything that `LensModel` reads of it is checked.

    UserError, ArchitectureError or TrainingError for what is missing, of another type or absurd.
    """
    for name, largest in LARGEST.items():
        check_number(name, _of(config, name), 1, largest, whole=True)
        if config[name] is None:
            raise UserError(f"{name} is null; expected a whole number")
    checked(_of(config, "views"))
    factors = _mapping(config, "calibration")
    for views, factor in factors.items():
        each = factor if isinstance(factor, list) else [factor]
        are_numbers = all(isinstance(one, Real) and not isinstance(one, bool) for one in each)
        if not (each and are_numbers and all(0 < one < math.inf for one in each)):
            raise UserError(f"calibration for {views} views is {factor!r}; expected factors above 0")
    check_reading(config)
    members = _of(config, "members")
    if not isinstance(members, list) or not members:
        raise UserError(f"members is {members!r}; expected a list of networks")
    task = read_task(_mapping(config, "task"))
    if task.num_outputs != config["num_outputs"]:
        raise UserError(f"num_outputs is {config['num_outputs']}, but the task has {task.num_outputs}")
    return [_network(member, task) for member in members]


def _network(member: Any, of_model: Task) -> Architecture:
    if not isinstance(member, Mapping):
        raise UserError(f"a member is {member!r}; expected an object")
    check_number("times", _of(member, "times") or 0, 1, 1000, whole=True)
    check_normalisation(_of(member, "normalisation"))
    task = read_task(_mapping(member, "task"))
    alike = type(task) is type(of_model) and task.num_outputs == of_model.num_outputs
    if not alike or tasks.quantity(task) != tasks.quantity(of_model):
        raise UserError(f"a member's task is {member['task']!r}; expected that of the model")
    # The folder has its own weights: published ones need not be downloaded, nor a file of somebody's be opened.
    own = {
        key: value
        for key, value in _mapping(member, "architecture").items()
        if key not in ("pretrained", "checkpoint", "frozen")
    }
    return from_dict(own)


def check_normalisation(record: Any) -> None:
    """UserError or TrainingError unless the record is one of a normalisation."""
    if isinstance(record, str):
        Normalisation.from_json(record)
        return
    statistics = _mapping(record, "statistics") if isinstance(record, Mapping) else {}
    wanted = ("offset", "scale", "mean", "std")
    numbers = [statistics.get(name) for name in wanted]
    known = all(isinstance(n, Real) and math.isfinite(n) for n in numbers) and set(statistics) == set(wanted)
    if not known or not numbers[1] or not numbers[3] or not isinstance(record.get("kind"), str):
        raise UserError(f"normalisation is {record!r}; expected its kind, or kind and statistics")
    Normalisation.from_json(record)


def check_reading(config: Mapping[str, Any]) -> None:
    """UserError or TrainingError unless how the model reads images, and the names of its channels, are right."""
    record, channels = config.get("reading", {}), config.get("channels", [])
    if not isinstance(record, Mapping) or not set(record) <= {field.name for field in fields(Reading)}:
        raise UserError(f"reading is {record!r}; expected {', '.join(field.name for field in fields(Reading))}")
    for what, names in {
        "channels": channels,
        "hdu": record.get("hdu"),
        "key": record.get("key"),
        "classes": record.get("classes"),
    }.items():
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise UserError(f"{what} is {names!r}; expected a list of names")
    if record.get("fit") is not None and side(checked_fit(record["fit"])) is None:
        raise UserError(f"fit is {record['fit']!r}; expected the side of the images as well, such as crop:60")
    Reading(**record)


def read_task(record: Mapping[str, Any]) -> Task:
    """The task of a record. UserError or TrainingError unless it is one, with names for its classes."""
    if not isinstance(_of(record, "name"), str):
        raise UserError(f"the task's name is {record['name']!r}; expected text")
    try:
        task = tasks.from_record(record)
    except TypeError as error:
        raise UserError(f"task is {record!r}: {error}") from error
    for name, value in vars(task).items():  # those of our own tasks are known to be right
        if isinstance(value, float | int) and not math.isfinite(value):
            raise TrainingError(f"task: {name} is {value}; expected a number")
    names = task.classes
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise UserError(f"task: classes is {names!r}; expected different names")
    if task.classifies and len(names) < 2:
        raise UserError(f"task: classes is {names!r}; expected two or more")
    return task


def _of(record: Mapping[str, Any], name: str) -> Any:
    if name not in record:
        raise UserError(f"config.json lacks {name!r}")
    return record[name]


def _mapping(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = _of(record, name)
    if not isinstance(found, Mapping):
        raise UserError(f"{name} is {found!r}; expected an object")
    return found
