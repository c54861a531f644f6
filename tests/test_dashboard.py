"""What optuna-dashboard shows of a trial: read back through Optuna's and its own interfaces, never through ours."""

import json
import socket
from dataclasses import replace
from wsgiref.util import setup_testing_defaults
from xml.etree import ElementTree

import optuna
import optuna_dashboard
import pytest
from here import work_through_here
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna.trial import TrialState, create_trial

import nas
from nas.commands.cli import main_of
from nas.reading import load_results, read
from nas.run_folder import RunFolder
from nas.searching.ledger import Ledger
from nas.searching.notes import note
from nas.searching.pictures import pictures
from nas.searching.storage import open_storage
from nas.searching.study import describe
from studies import load as load_study

SVG = "{http://www.w3.org/2000/svg}"
TINY = {"images": 60, "image_size": 16, "epochs": 6, "max_macs": 15_000_000, "workers": 1, "finals": 0.0, "quiet": True}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The run of a small search: its folder, and its study as Optuna reads it."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.workers.pool.work_through", work_through_here)
        patch.setattr("trainers.data.limits.IMAGES", 6)
        results = nas.search("hybrid", trials=4, runs=runs, name="seen", **TINY)
    run = RunFolder(results.database.parent)
    storage = optuna.storages.RDBStorage(f"sqlite:///{run.database}")
    return run, optuna.load_study(study_name="hybrid", storage=storage)


def note_of(study, trial):
    return optuna_dashboard.get_note(optuna.Trial(study, trial._trial_id))


def test_every_trial_that_ended_has_a_note_on_its_network_and_its_end(searched):
    run, study = searched
    ended = [t for t in study.get_trials() if "skipped" not in t.user_attrs]
    assert len(ended) == 4
    for trial, ours in zip(ended, load_results(run.path).trained, strict=True):
        text = note_of(study, trial)
        assert f"`{ours.architecture}`" in text
        word = {TrialState.COMPLETE: "**Complete**", TrialState.PRUNED: "**Pruned**", TrialState.FAIL: "**Failed**"}
        assert text.startswith(word[trial.state])
        assert f"{trial.value:.4f}" in text
        assert ("given to the search" if trial.user_attrs.get("given") else "chosen by the sampler") in text
        assert f"learning rate {ours.config['training']['learning_rate']:.2g}" in text


def test_a_note_that_a_killed_process_did_not_write_is_written_at_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setattr("nas.workers.pool.work_through", work_through_here)
    monkeypatch.setattr("trainers.data.limits.IMAGES", 6)
    write = Ledger.note

    def killed(ledger, number, text):
        if number == 1:
            raise KeyboardInterrupt
        write(ledger, number, text)

    options = {**TINY, "epochs": 2, "max_macs": None, "trials": 3, "runs": tmp_path, "name": "killed"}
    monkeypatch.setattr(Ledger, "note", killed)
    with pytest.raises(KeyboardInterrupt):
        nas.search("toys", **options)
    monkeypatch.setattr(Ledger, "note", write)
    results = nas.search("toys", **options)
    study = optuna.load_study(study_name="toys", storage=f"sqlite:///{results.database}")
    assert all(note_of(study, trial) for trial in study.get_trials())


def test_a_fault_in_drawing_a_note_is_said_and_the_search_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nas.workers.pool.work_through", work_through_here)
    monkeypatch.setattr("trainers.data.limits.IMAGES", 6)
    monkeypatch.setattr("nas.searching.notes.note", lambda *args: 1 / 0)
    options = {**TINY, "epochs": 2, "max_macs": None, "quiet": False}
    results = nas.search("toys", trials=2, runs=tmp_path, name="faulty", **options)
    assert len(results.trained) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "trial 0 has no note in the dashboard (ZeroDivisionError: division by zero)" in said


def test_user_attributes_are_short_and_the_library_still_reads_the_long_ones(searched):
    run, study = searched
    for trial in study.get_trials():
        assert all(len(json.dumps(value)) < 80 for value in trial.user_attrs.values())
    best = load_results(run.path).best
    assert best.config["architecture"]["stages"]
    assert [entry["epoch"] for entry in best.history] == [1, 2, 3, 4, 5, 6]


def test_a_full_training_has_its_curve_and_its_answers_as_artifacts(searched):
    run, study = searched
    store = FileSystemArtifactStore(run.artifacts)
    (first, *_) = [t for t in study.get_trials() if t.state == TrialState.COMPLETE]
    files = {}
    for meta in get_all_artifact_meta(first, storage=study._storage):
        assert meta.mimetype == "image/svg+xml"
        with store.open_reader(meta.artifact_id) as file:
            files[meta.filename] = ElementTree.fromstring(file.read())
    assert set(files) == {"learning-curve.svg", "confusion.svg", "architecture.svg"}
    assert len(list(files["learning-curve.svg"].iter(f"{SVG}circle"))) == 6
    numbers = [int(t.text) for t in files["confusion.svg"].iter(f"{SVG}text") if t.text.isdigit()]
    assert sum(numbers) == load_results(run.path).validated
    shares = [numbers[i] for i in (0, 4, 8)]
    accuracy = load_results(run.path).trial(first.number).metrics["accuracy"]
    assert sum(shares) / sum(numbers) == pytest.approx(accuracy)
    assert not any(
        get_all_artifact_meta(t, storage=study._storage) for t in study.get_trials() if t.state == TrialState.PRUNED
    )


def test_a_long_name_of_a_class_is_cut_to_its_cell_and_kept_whole_beside_it():
    answers = {"classes": ["no_sub", "cold & dark <b>subhalos"], "confusion": [[1, 0], [0, 2]]}
    root = ElementTree.fromstring(pictures([{"epoch": 1, "auc": 0.5}], "auc", answers)["confusion.svg"])
    names = [text for text in root.iter(f"{SVG}text") if text.text.startswith("cold")]
    assert [len(name.text) for name in names] == [10, 10]
    assert {name.find(f"{SVG}title").text for name in names} == {"cold & dark <b>subhalos"}
    assert sum(text.text == "no_sub" for text in root.iter(f"{SVG}text")) == 2


def test_numbers_are_drawn_against_the_truth_in_a_picture_each():
    answers = {"quantities": ["theta_E (arcsec)", "<b>"], "points": [[[1.0, 2.0], [1.5, 1.9]], [[0.0], [3.0]]]}
    files = pictures([{"epoch": 1, "mae": 0.5}], "mae", answers)
    assert set(files) == {"learning-curve.svg", "predicted-theta-E--arcsec-.svg", "predicted--b-.svg"}
    for name, points in (("predicted-theta-E--arcsec-.svg", 2), ("predicted--b-.svg", 1)):
        root = ElementTree.fromstring(files[name])
        assert len(list(root.iter(f"{SVG}circle"))) == points
        assert not list(root.iter(f"{SVG}b"))


def test_a_study_of_an_earlier_version_reads_the_same(tmp_path):
    config = {"architecture": {"kind": "toy", "name": "lenet"}, "training": {}, "seed": 3}
    spec = load_study("hybrid")
    old = optuna.create_study(study_name="hybrid", direction="maximize")
    old.set_user_attr("spec", describe(spec))
    attributes = {"config": config, "history": [{"epoch": 1, "auc": 0.6}]}
    old.add_trial(create_trial(state=TrialState.RUNNING, intermediate_values={1: 0.6}, user_attrs=attributes))
    trial = read(old).trials[0]
    assert (trial.config, trial.history) == (config, ({"epoch": 1, "auc": 0.6},))
    ledger = Ledger(open_storage(tmp_path / "s.db"), "hybrid", sampler=optuna.samplers.RandomSampler(0))
    ledger.study.set_user_attr("spec", describe(spec))
    number, _ = ledger.ask(lambda trial: trial.suggest_float("x", 0, 1))
    ledger.start(number, attributes)
    assert read(ledger.study).trials[0].config == config


def test_a_note_says_the_value_of_the_last_epoch_not_that_of_the_rung_before():
    trial = replace(
        next(iter(read_failed("").trials)), state="pruned", error="too slow", curve={4: 0.73, 6: 0.81}, rung=4
    )
    assert note(trial, "auc", (4, 12), None).startswith("**Pruned** after 6 epochs with AUC 0.8100: `too slow`")


def test_a_note_gives_errors_of_others_no_power():
    text = "`<script>`\n# heading"
    trial = next(iter(read_failed(text).trials))
    assert "`'<script>' # heading`" in note(trial, "auc", (4, 12), None)


def read_failed(error):
    study = optuna.create_study(study_name="hybrid", direction="maximize")
    study.set_user_attr("spec", describe(load_study("hybrid")))
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"config": {}, "error": error}))
    return read(study)


def get(app, path):
    """The body of a page of a WSGI application."""
    path, _, query = path.partition("?")
    environ = {"PATH_INFO": path, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    return b"".join(app(environ, lambda status, headers, error=None: None))


def test_the_dashboard_serves_the_notes_and_pictures_of_a_run(searched):
    run, _ = searched
    app = optuna_dashboard.wsgi(open_storage(run.database), artifact_store=FileSystemArtifactStore(run.artifacts))
    found = json.loads(get(app, "/api/studies/1?after=0"))
    complete = [t for t in found["trials"] if t["state"] == "Complete"]
    assert complete
    for trial in complete:
        assert trial["note"]["body"].startswith("**Complete**")
        for artifact in trial["artifacts"]:
            assert get(app, f"/artifacts/1/{trial['trial_id']}/{artifact['artifact_id']}").startswith(b"<svg")


def test_a_port_that_is_taken_is_one_line(searched, capsys):
    run, _ = searched
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ["--study", "hybrid", "--runs", str(run.path.parent), "--name", "seen"]
        assert main_of("dashboard", [*words, "--port", str(taken.getsockname()[1])]) == 2
    assert "give another --port" in capsys.readouterr().err
