"""Loggers hear every epoch of a search, the user's own as well as ours, and cannot harm it."""

import importlib
import json
import struct

import pytest
from here import TOY
from tensorboardX.proto.event_pb2 import Event

import nas
from nas import loggers
from nas.loggers import tensorboard

OWN = """
import json

from nas.loggers import tensorboard


class Logger(tensorboard.Logger):
    def __init__(self, folder, study):
        super().__init__(folder, study)
        self.file = open(f"{study}.jsonl", "w")

    def epoch(self, trial, epoch, metrics):
        super().epoch(trial, epoch, metrics)
        self.file.write(json.dumps([trial, {"epoch": epoch, **metrics}]) + "\\n")

    def close(self):
        super().close()
        self.file.close()
"""


def scalars(path):
    """(name, epoch) -> value of an event file, by the format of TFRecord: length, checksum, content, checksum."""
    content, found = path.read_bytes(), {}
    while content:
        length = struct.unpack("<Q", content[:8])[0]
        event = Event.FromString(content[12 : 12 + length])
        found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        content = content[16 + length :]
    return found


def test_a_logger_of_ones_own_and_tensorboard_hear_what_the_study_holds(tmp_path, monkeypatch, without_ray):
    (tmp_path / "my_logger.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    monkeypatch.setattr(tensorboard, "MOST_OPEN", 1)
    results = nas.search(TOY, trials=3, workers=1, quiet=True, logger="my_logger")
    heard = [json.loads(line) for line in (tmp_path / "toy.jsonl").read_text().splitlines()]
    assert {number for number, _ in heard} == {trial.number for trial in (*results.trained, *results.repeats)}
    for trial in (*results.trained, *results.repeats):
        told = [epoch for number, epoch in heard if number == trial.number]
        assert told == [pytest.approx(epoch, rel=1e-6) for epoch in trial.history], "which the study rounds"
        found = {}
        for file in (results.database.parent / "log" / f"trial-{trial.number}").iterdir():
            found |= scalars(file)
        stored = {(name, e["epoch"]): value for e in trial.history for name, value in e.items() if name != "epoch"}
        assert found == pytest.approx(stored, rel=1e-6)


def test_a_logger_that_raises_is_off_from_then_on_and_that_is_said_once():
    closed = []

    class Broken:
        def epoch(self, trial, epoch, metrics):
            raise ConnectionError("no network")

        def close(self):
            closed.append(True)

    said = []
    told = loggers.Safely(Broken(), said.append)
    told.epoch(0, 1, {"auc": 0.5})
    told.epoch(0, 2, {"auc": 0.6})
    told.close()
    (line,) = said
    assert "ConnectionError: no network" in line
    assert closed == [True]


def test_without_a_logger_nothing_is_told():
    told = loggers.Safely(None, pytest.fail)
    told.epoch(0, 1, {"auc": 0.5})
    told.close()
