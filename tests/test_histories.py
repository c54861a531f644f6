"""The stored form of a trial's history."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.searching.histories import packed, unpacked

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-(10**9), 10**9)
NAMES = st.sampled_from(["train_loss", "accuracy", "turned_auc", "more", "columns"])


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.dictionaries(NAMES, NUMBERS)), max_size=8))
def test_a_history_comes_back_with_the_objective_exact_and_the_rest_to_seven_digits(entries):
    history = [{"epoch": e, "auc": auc, **metrics} for e, (auc, metrics) in enumerate(entries, 1)]
    stored = json.loads(json.dumps(packed(history, "auc")))
    found = unpacked(stored, {entry["epoch"]: entry["auc"] for entry in history})
    assert [entry["auc"] for entry in found] == [entry["auc"] for entry in history]
    assert [entry["epoch"] for entry in found] == [entry["epoch"] for entry in history]
    for one, other in zip(found, history, strict=True):
        assert one == {name: pytest.approx(value, rel=1e-6) for name, value in other.items()}


def test_an_epoch_that_the_study_does_not_have_is_left_out_and_old_records_are_read():
    history = [{"epoch": e, "auc": 0.5, "seconds": 1.0} for e in (1, 2, 3)]
    assert unpacked(packed(history, "auc"), {1: 0.5, 2: 0.5}) == history[:2]
    assert unpacked(history, {}) == history
    assert unpacked(packed([], "auc"), {}) == []


def test_the_stored_form_is_short():
    """As the workers report: eight metrics an epoch."""
    names = ("train_loss", "auc", "accuracy", "loss", "ap", "mcc", "seconds", "peak_memory_mb")
    history = [{"epoch": e, **{name: (e + k) / 7.3 for k, name in enumerate(names)}} for e in range(1, 13)]
    assert len(json.dumps(packed(history, "auc"))) < len(json.dumps(history)) / 2
