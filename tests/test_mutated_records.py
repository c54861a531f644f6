"""Records that anybody may have written, mutated at random: refused with a small error or accepted, never slowly."""

import copy
import json
import random
import time

import pytest

from nas.errors import UserError
from nas.models.record import architectures
from search_space import ArchitectureError, Backbone, Hybrid, HybridSpace, Range, Stage, Toy, cost, from_dict, to_dict
from studies import Configuration, StudyError, StudySpec, TrainSpace
from trainers.config import TrainConfig
from trainers.errors import TrainingError

SMALL = (UserError, ArchitectureError, StudyError, TrainingError)
VALUES = (
    None, True, False, 0, 1, -1, 2, 3, 7, 10**9, 10**30, -(10**30), 0.5, -0.5, 1e308, float("nan"), float("inf"),
    "", "x", "conv", "attention", "a" * 1000, "\0", "../x", "/tmp/x", "\ud800", [], [0], [[]], [None], {}, {"x": 1},
    {"kind": "toy"}, "1",
)  # fmt: skip
HYBRID = Hybrid(
    stages=(
        Stage("conv", 1, 16, options={"variant": "separable", "kernel": 3}),
        Stage("attention", 2, 16, downsample=True, options={"heads": 2}, first="window", first_options={"heads": 2}),
    ),
    position="relative",
)
TASK = {"name": "substructure", "classes": ["a", "b", "c"]}
MEMBER = {
    "times": 1, "architecture": to_dict(HYBRID), "task": TASK, "training": TrainConfig().to_dict(), "seed": 0,
    "normalisation": {"kind": "asinh", "statistics": {"offset": 0.0, "scale": 1.0, "mean": 0.5, "std": 2.0}},
}  # fmt: skip
MODEL = {
    "format": 2, "in_chans": 1, "image_size": 32, "num_outputs": 3, "task": TASK, "views": 8, "members": [MEMBER],
    "reading": {"hdu": ["G"], "clip": [0.1, 99.9], "key": ["x"], "fit": "crop:60", "classes": ["a", "b"]},
    "channels": ["G"],
    "calibration": {"1": 1.2, "8": 0.9},
}  # fmt: skip


def places(record, path=()):
    """Every path in nested dictionaries and lists."""
    items = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutated(record, rng):
    """The record with one to three values replaced, removed, added or taken from elsewhere in it."""
    record = json.loads(json.dumps(record))
    for _ in range(rng.randint(1, 3)):
        paths = list(places(record))
        if not paths:
            return record
        *path, key = rng.choice(paths)
        owner = record
        for step in path:
            owner = owner[step]
        how = rng.random()
        if how < 0.15:
            del owner[key]
        elif how < 0.25 and isinstance(owner, dict):
            owner[rng.choice(("nosuch", "", "kind", "name"))] = rng.choice(VALUES)
        elif how < 0.35:
            owner[key] = copy.deepcopy(get(record, rng.choice(paths)))
        else:
            owner[key] = copy.deepcopy(rng.choice(VALUES))
    return record


def get(record, path):
    for step in path:
        try:
            record = record[step]
        except (KeyError, IndexError, TypeError):  # just removed
            return None
    return record


def read_and_count(record):
    """A network that is accepted can also be counted, or is refused then."""
    return cost(from_dict(record), in_chans=1, image_size=32, num_outputs=3)


READERS = {
    "hybrid": (to_dict(HYBRID), read_and_count, 400),
    "toy": (to_dict(Toy("lenet")), from_dict, 200),
    "backbone": (to_dict(Backbone("resnet18")), from_dict, 200),
    "training": (TrainConfig().to_dict(), TrainConfig.from_dict, 1000),
    "configuration": (Configuration(HYBRID, TrainConfig(), 3).to_dict(), Configuration.from_dict, 1000),
    "model": (MODEL, architectures, 1500),
}


def is_refused(read, record):
    """Whether `read` refuses the record. It must do so with a small error, or accept it, and soon."""
    begin = time.process_time()
    try:
        read(record)
        refused = False
    except SMALL:
        refused = True
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error} for {record}") from error
    assert time.process_time() - begin < 5, record
    return refused


@pytest.mark.parametrize("kind", READERS)
def test_a_mutated_record_is_refused_with_a_small_error_or_accepted(kind):
    record, read, count = READERS[kind]
    read(json.loads(json.dumps(record)))
    rng, refused = random.Random(kind), 0
    for _ in range(count):
        refused += is_refused(read, mutated(record, rng))
    assert count / 10 < refused


@pytest.mark.parametrize("what", ["spec", "space", "training"])
def test_a_study_with_fields_of_any_kind_is_refused_with_a_small_error_or_made(what):
    rng = random.Random(what)
    more = (Range(0, 1), Range(0.1, 0.9), Range(1, 8), (0,), (1, 2), ("conv", "x"), (None,), ((),), HybridSpace, Toy)
    fields = {
        "spec": StudySpec.__dataclass_fields__, "space": HybridSpace.__dataclass_fields__,
        "training": TrainSpace.__dataclass_fields__,
    }[what]  # fmt: skip
    make = {
        "spec": lambda **given: StudySpec(**{"name": "n", "question": "?"} | given),
        "space": lambda **given: StudySpec("n", "?", space=HybridSpace(**given)),
        "training": TrainSpace,
    }[what]
    refused, count = 0, 150
    for _ in range(count):
        given = {name: rng.choice((*VALUES, *more)) for name in rng.sample(sorted(fields), rng.randint(1, 2))}
        refused += is_refused(lambda given: make(**given), given)
    assert count / 10 < refused
