"""Anything that anybody may hand in, made up by hypothesis: refused with an error that says why, or read."""

import io
import json
import pickle
import sys

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nas.errors import UserError
from nas.models.export import load_model
from search_space import ArchitectureError, Range, from_dict
from studies import Configuration, StudyError, StudySpec, TrainSpace
from trainers.audit.properties import tell
from trainers.config import TrainConfig
from trainers.data.folder.image_file import UNREADABLE, normal_form, read_stored
from trainers.data.folder.layouts import scan
from trainers.data.folder.object_array import restricted_unpickler
from trainers.errors import TrainingError

SMALL = (UserError, ArchitectureError, StudyError, TrainingError)
FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
NUMBERS = st.integers() | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@FEW
@given(record=JSON)
def test_any_json_is_refused_as_a_configuration_with_a_small_error(record):
    for read in (Configuration.from_dict, TrainConfig.from_dict, from_dict):
        try:
            read(record)
        except SMALL:
            continue
        assert record == {}, "only no record at all has every default"
        assert read == TrainConfig.from_dict


@FEW
@given(low=NUMBERS, high=NUMBERS, log=st.booleans(), name=st.sampled_from(sorted(TrainSpace.__dataclass_fields__)))
def test_a_study_with_any_bounds_is_refused_or_samples_within_them(low, high, log, name):
    try:
        spec = StudySpec("n", "?", training=TrainSpace(**{name: Range(low, high, log=log)}))
    except SMALL:
        return
    sampled = {}

    class Trial:
        def suggest_float(self, name, low, high, **how):
            return sampled.setdefault(name, low)

        def suggest_int(self, name, low, high, **how):
            return sampled.setdefault(name, high)

        def suggest_categorical(self, name, choices):
            return sampled.setdefault(name, choices[-1])

    assert Configuration.from_dict(json.loads(json.dumps(spec.sample(Trial()).to_dict())))
    assert low <= sampled.get(name, low) <= high  # not asked for if there is but one, or without a policy that uses it


@FEW
@given(text=JSON.map(json.dumps).map(str.encode) | st.binary(max_size=40))
def test_any_bytes_are_refused_as_a_model(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "model"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(text)
    with pytest.raises(UserError):
        load_model(folder)


def images():
    """A whole file of each kind."""
    rng = np.random.default_rng(0)
    picture, files = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8), {}
    for name, save in {
        "a.npy": lambda file: np.save(file, rng.random((6, 6))),
        "b.npy": lambda file: np.save(file, objects(rng), allow_pickle=True),
        "c.png": lambda file: Image.fromarray(picture).save(file, format="PNG"),
        "d.png": lambda file: Image.fromarray(picture[..., 0].astype(np.uint16) * 200).save(file, format="PNG"),
        "e.jpg": lambda file: Image.fromarray(picture).save(file, format="JPEG"),
        "f.fits": lambda file: fits.PrimaryHDU(rng.random((6, 6))).writeto(file),
        "g.npz": lambda file: np.savez(file, x=rng.random((6, 6))),
    }.items():
        made = io.BytesIO()
        save(made)
        files[name] = made.getvalue()
    return files


def objects(rng):
    array = np.empty(2, dtype=object)
    array[:] = [rng.random((6, 6)), 1e-23]
    return array


FILES = images()
EDITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=3)), max_size=4)


def edited(content, edits, kept):
    changed = bytearray(content)
    for place, what in edits:
        at = int(place * len(changed))
        changed[at : at + len(what)] = what
    return bytes(changed[: int(kept * len(changed)) + 1])


@pytest.mark.parametrize("name", FILES)
@FEW
@given(edits=EDITS, kept=st.just(1.0) | st.floats(0, 1))
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_image_is_refused_or_read(name, edits, kept, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(edited(FILES[name], edits, kept))
    try:
        array, _ = normal_form(read_stored(path).array)
    except UNREADABLE:
        return
    assert array.ndim == 3


def stacked():
    made = io.BytesIO()
    np.save(made, np.zeros((6, 6, 6)))
    return made.getvalue()


STACK = stacked()


@FEW
@given(edits=EDITS, kept=st.just(1.0) | st.floats(0, 1))
@pytest.mark.filterwarnings("ignore")
def test_damaged_stacked_arrays_are_refused_or_read(edits, kept, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "stack"
    folder.mkdir(exist_ok=True)
    (folder / "images.npy").write_bytes(edited(STACK, edits, kept))
    np.save(folder / "labels.npy", np.arange(6) % 2)
    try:
        found = scan(folder).entries
    except UNREADABLE:
        return
    assert {entry.path.name for entry in found} == {"images.npy"}


STARTED = []
sys.addaudithook(lambda event, args: STARTED and STARTED.append((event, args)))


@FEW
@given(
    edits=EDITS, kept=st.floats(0.5, 1), place=st.floats(0, 1),
    wanted=st.sampled_from(["os system", "builtins eval", "builtins getattr", "subprocess Popen", "numpy.core no"]),
)  # fmt: skip
def test_no_pickle_imports_or_runs_anything(edits, kept, place, wanted):
    content = pickle.dumps([np.arange(3.0), 1.0])
    at = 2 + int(place * (len(content) - 2))
    call = b"c" + wanted.replace(" ", "\n").encode() + b"\n(S'true'\ntR"
    STARTED[:] = ["begin"]
    try:
        restricted_unpickler(io.BytesIO(edited(content[:at] + call + content[at:], edits, kept))).load()
    except Exception:  # a hostile pickle can raise anything; what it may not do is run
        pass
    finally:
        seen, STARTED[:] = STARTED[1:], []
    assert {event for event, _ in seen} <= {"pickle.find_class", "object.__getattr__"}


@pytest.mark.parametrize(("images", "classes", "texts"), [(100, 2, 20), (100, 5, 20), (1000, 2, 20)])
def test_random_texts_tell_no_class(images, classes, texts):
    """Each image's own class is no part of the share that is held against it."""
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        values = [f"text {k}" for k in rng.integers(0, texts, images)]
        told = tell("observer", values, rng.integers(0, classes, images), [str(k) for k in range(classes)])
        found.append(told.auc if told else 0.5)
    assert np.mean(found) < 0.6
    labels = rng.integers(0, 2, images)
    assert tell("observer", [f"of {k}" for k in labels], labels, ["a", "b"]).auc == 1.0
