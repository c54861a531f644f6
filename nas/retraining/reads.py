"""How often the test images were read, over the life of a run's folder: retrain.json keeps the count.

Every reading is a chance to choose by it, and the best of many values looks better than it is, so the page says how
many networks were tested. Baselines, which nobody chooses among, do not count. A network counts once, by everything
that its result depends on, even if its files are replaced or removed after the retraining that showed it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.files import read_json
from nas.run_folder import RunFolder
from nas.words import count


@dataclass(frozen=True)
class TestReads:
    calls: int  # of `nas.retrain` that showed test scores
    digests: tuple[str, ...]  # one per tested network, sorted

    __test__ = False  # no test of pytest's

    @property
    def networks(self) -> int:
        return len(self.digests)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> TestReads:
        """What retrain.json says. That of an earlier version has no count: it was one call at least."""
        reads = record.get("test_reads", {})
        return cls(reads.get("calls", 1), tuple(reads.get("digests", ())))

    def to_dict(self) -> dict[str, Any]:
        return {"networks": self.networks, "calls": self.calls, "digests": self.digests}

    def describe(self) -> str:
        """`9 networks in 2 calls of nas.retrain`."""
        return f"{count(self.networks, 'network')} in {count(self.calls, 'call')} of nas.retrain"


def recall(run: RunFolder) -> TestReads:
    """What was read so far: as retrain.json has it, and every network on disk, also of a retraining cut short."""
    path = run.retraining_record
    known = TestReads.of_record(read_json(path)) if path.exists() else TestReads(0, ())
    on_disk = {_digest(record["key"]) for record in _records(run.retrained) if "test" in record}
    return TestReads(known.calls, tuple(sorted({*known.digests, *on_disk})))


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    """The records below `folder`, but for those of a killed process and damaged ones, which are trained again."""
    for path in folder.rglob("record.json"):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        with suppress(ValueError):
            yield json.loads(path.read_text())


def count_call(before: TestReads, run: RunFolder) -> TestReads:
    """What is read at the end of a call that `recall`ed `before` at its start."""
    return TestReads(before.calls + 1, tuple(sorted({*before.digests, *recall(run).digests})))


def _digest(key: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
