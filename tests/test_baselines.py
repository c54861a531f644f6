"""Baselines beside the retrained configurations: trained once per images and budget, and an honest word on who wins."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from here import work_through_here
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

import nas
from nas.commands.cli import main_of
from nas.report.baselines import sentence
from nas.retraining import baselines, comparison
from nas.retraining.comparison import Verdict, compare
from nas.retraining.job import NetworkResult, Retraining
from nas.workers.training import Problem, resident
from search_space import Toy, ToySpace, build_model
from studies import Configuration, StudyError, StudySpec
from studies.baselines import training
from trainers import tasks
from trainers.batch.normalise import Normalisation
from trainers.data import Dataset, Simulated, Split
from trainers.evaluate import metrics_of_views
from trainers.fitted import FITTED
from trainers.lock import locked

SPEC = StudySpec(
    "toy", "Which toy?", space=ToySpace(("mlp",)), data=Simulated(images=60, image_size=16), epochs=2, min_epochs=2,
    sampler="random", baselines=("statistics", "cnn"),
)  # fmt: skip
OURS = ["trial 0, seed 1", "trial 0, seed 2"]
HELD_OUT = "trial 0, seed 1, validation held out"
THEIRS = ["intensity statistics", "plain CNN, seed 0", "plain CNN, seed 1"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setenv("NAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        resident.cache_clear()
        for name, settings in FITTED.items():  # a few trees
            patch.setitem(FITTED, name, settings | {"trees": settings["trees"] | {"max_iter": 10}})
        yield


@pytest.fixture
def done(monkeypatch):
    """The names of the trainings that were done, in their order."""
    names, real = [], baselines.train_or_fit

    def train_or_fit(job):
        names.append(job.name)
        return real(job)

    monkeypatch.setattr(baselines, "train_or_fit", train_or_fit)
    return names


def search(runs, spec=SPEC, name="toy"):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.workers.pool.work_through", work_through_here)
        return nas.search(spec, trials=1, finals=0, runs=runs, name=name, quiet=True)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a run of SPEC."""
    folder = tmp_path_factory.mktemp("runs")
    search(folder)
    return folder / "toy"


def copied(run, folder):
    shutil.copytree(run, folder)
    return nas.load_results(folder)


def retrain(results, **options):
    return nas.retrain(results, **{"top_k": 1, "seeds": 2, "workers": 2, "quiet": True, **options})


def test_baselines_follow_the_configurations_and_serve_every_run_over_the_same_images(
    tmp_path, searched, without_ray, done
):
    results = copied(searched, tmp_path / "toy")
    retrained = retrain(results)
    assert done == [*OURS, HELD_OUT, *THEIRS]
    assert [(b.name, b.seeds) for b in retrained.baselines] == [("statistics", (0,)), ("cnn", (0, 1))]
    network = build_model(Toy("cnn"), in_chans=1, image_size=16, num_outputs=3)
    assert [b.parameters for b in retrained.baselines] == [None, sum(p.numel() for p in network.parameters())]
    again = {**retrain(results).to_dict(), "test_reads": retrained.to_dict()["test_reads"]}
    assert again == retrained.to_dict()
    assert done == [*OURS, HELD_OUT, *THEIRS], "nothing is trained twice"
    other = retrain(copied(searched, tmp_path / "other"), seeds=3)
    assert done[6:] == [*OURS, "trial 0, seed 3", HELD_OUT, "plain CNN, seed 2"]
    assert other.baselines[0] == retrained.baselines[0]
    assert other.baselines[1].test[:2] == retrained.baselines[1].test
    retrain(search(tmp_path, replace(SPEC, epochs=3, min_epochs=3), "longer"), seeds=1)
    assert done[11:] == ["trial 0, seed 1", HELD_OUT, "plain CNN, seed 0"], "trees know no epochs"


def test_the_command_shows_them_and_leaves_them_out_when_asked(tmp_path, searched, without_ray, capsys):
    copied(searched, tmp_path / "toy")
    words = ["--study", "toy", "--runs", str(tmp_path), "--seeds", "2", "--top-k", "1", "--workers", "2"]
    assert main_of("retrain", [*words, "--no-baselines"]) == 0
    assert not (tmp_path / ".baselines").exists()
    assert "baseline" not in capsys.readouterr().out
    assert main_of("retrain", words) == 0
    shown, page = capsys.readouterr().out, (tmp_path / "toy" / "retrain.html").read_text()
    record = json.loads((tmp_path / "toy" / "retrain.json").read_text())
    assert [b["name"] for b in record["baselines"]] == ["statistics", "cnn"]
    (verdict,) = record["verdicts"]
    best = max(record["baselines"], key=lambda b: b["spread"]["auc"]["mean"])
    assert (verdict["trial"], verdict["baseline"], verdict["metric"]) == (0, best["name"], "auc")
    difference = record["configurations"][0]["spread"]["auc"]["mean"] - best["spread"]["auc"]["mean"]
    assert verdict["ahead"][0] == verdict["difference"]["auc"][0] == pytest.approx(difference)
    assert verdict["beats"] == (verdict["ahead"][1] > 0)
    line = sentence(Verdict(**verdict))
    assert line[1:] in " ".join(shown.split())
    assert f"{line[:1].upper()}{line[1:]}." in page
    for b in record["baselines"]:
        value = f"{b['spread']['auc']['mean']:.4f}"
        assert value in shown
        assert value in page


@pytest.mark.parametrize("task", ["axion_mass", "mass_fraction_sigma"])
def test_baselines_of_a_measured_number(tmp_path, without_ray, task):
    spec = replace(SPEC, task=task, objective="mae", direction="minimize", data=Simulated(images=120, image_size=16))
    retrained = retrain(search(tmp_path, spec))
    assert not retrained.failures
    (verdict,) = retrained.verdicts
    best = min(retrained.baselines, key=lambda b: b.spread["mae"].mean)
    assert verdict.baseline == best.name
    assert verdict.ahead[0] == pytest.approx(best.spread["mae"].mean - retrained.configurations[0].spread["mae"].mean)
    assert ("z_rms" in best.ensemble) == task.endswith("sigma")


def test_a_failed_baseline_loses_nothing_else(tmp_path, searched, without_ray, monkeypatch):
    def fit_trees(*_):
        raise MemoryError("no room for trees")

    results = copied(searched, tmp_path / "toy")
    with monkeypatch.context() as patch:
        patch.setattr(baselines, "fit_trees", fit_trees)
        retrained = retrain(results)
    assert retrained.failures == ("intensity statistics: out of memory: no room for trees",)
    assert [b.name for b in retrained.baselines] == ["cnn"]
    assert retrained.best.exists()
    assert len(retrain(results).baselines) == 2, "the next retraining tries again"


def test_two_retrainings_at_once_train_a_baseline_once(tmp_path, searched, without_ray, done, capsys):
    results = copied(searched, tmp_path / "toy")
    retrain(results, seeds=1)
    (folder,) = (tmp_path / ".baselines").iterdir()
    del done[:]
    with locked(folder / "lock"):
        retrained = retrain(results, quiet=False)
    assert done == ["trial 0, seed 2"]
    assert "another retraining is training these baselines" in capsys.readouterr().out
    assert [len(b.seeds) for b in retrained.baselines] == [1, 1], "what is finished is compared with"
    retrain(results)
    assert done[1:] == ["plain CNN, seed 1"]


N = 400
LABELS = torch.arange(N) % 2
MADE = Dataset("made", ("a", "b"), *[Split(torch.zeros(N, 1, 16, 16), LABELS, {"mass_fraction": LABELS.double()})] * 3)


def probabilities(strength, seed):
    """Of two classes, right the more often the greater the strength."""
    noise = torch.randn(N, generator=torch.Generator().manual_seed(seed))
    score = strength * (LABELS * 2 - 1) + noise.double()
    return torch.stack([-score, score], 1).softmax(1)


def values(error, seed):
    """Measured numbers, with errors of this standard deviation."""
    noise = torch.randn(N, generator=torch.Generator().manual_seed(seed))
    return (LABELS + error * noise.double())[:, None]


@pytest.fixture
def judged(monkeypatch, tmp_path):
    """A function that compares made predictions (N, ...) of a configuration with those of baselines by name."""

    def judge(task_name, objective, ours, theirs):
        task = tasks.create(task_name, MADE)

        def result(job, _):
            views = (theirs[job.baseline] if isinstance(job, baselines.BaselineTraining) else ours).expand(8, N, -1)
            found = metrics_of_views(views, task.targets(MADE.test), task)
            return NetworkResult(job.seed, {}, views, found, 1.0, Normalisation("zscore"), task)

        monkeypatch.setattr(comparison, "finished", lambda job: {})
        monkeypatch.setattr(comparison, "tested", result)
        config = Configuration(Toy("mlp"), training("mlp", 2), seed=1).to_dict()
        job = Retraining(7, config, Problem({}, task_name), "", str(tmp_path))
        found, (verdict,) = compare(baselines.plan(list(theirs), job, 1, tmp_path), [job], objective, task, MADE)
        assert [b.name for b in found] == list(theirs)
        return verdict

    return judge


def test_a_configuration_beats_the_best_baseline_only_if_the_whole_interval_is_on_its_side(judged):
    weak, strong = probabilities(0.1, 1), probabilities(0.6, 2)
    ours = probabilities(1.2, 3)
    found = judged("substructure", "auc", ours, {"statistics": weak, "resnet18": strong})
    difference = roc_auc_score(LABELS, ours[:, 1]) - roc_auc_score(LABELS, strong[:, 1])
    assert (found.baseline, found.beats, found.metric) == ("resnet18", True, "auc")
    assert found.ahead[0] == pytest.approx(difference)
    value, low, high = found.ahead
    words = f"trial 7 beats ResNet-18, the best baseline, by {value:.3f} ({low:.3f} to {high:.3f}) in AUC"
    assert sentence(found) == words

    worse = judged("substructure", "auc_d4_worst", weak, {"resnet18": strong, "statistics": weak})
    assert (worse.baseline, worse.beats, worse.metric) == ("resnet18", False, "auc")
    value, low, high = worse.ahead
    assert high < 0
    assert sentence(worse) == (
        "trial 7 does not beat ResNet-18, the best baseline: its AUC is worse by "
        f"{-value:.3f} ({-high:.3f} to {-low:.3f})"
    )

    level = judged("substructure", "auc", probabilities(0.62, 4), {"pca": strong})
    assert level.ahead[1] < 0 < level.ahead[2]
    assert not level.beats
    assert "does not beat PCA + boosted trees" in sentence(level)


def test_of_errors_the_smaller_is_better(judged):
    theirs = {"pca": values(0.5, 1), "cnn": values(0.3, 2)}
    better, worse = (judged("mass_fraction", "mae", values(error, 3), theirs) for error in (0.1, 0.8))
    assert (better.baseline, worse.baseline) == ("cnn", "cnn")
    assert better.beats
    assert better.ahead[0] == pytest.approx(-better.difference["mae"][0])
    assert better.ahead[1] > 0
    assert not worse.beats
    assert "its MAE is worse by 0." in sentence(worse)


def test_the_baselines_of_a_study_may_change_and_must_exist(tmp_path, searched, without_ray):
    copied(searched, tmp_path / "toy")
    changed = replace(SPEC, baselines=("densenet121",))
    results = nas.search(changed, trials=2, finals=0, runs=tmp_path, quiet=True)
    assert (len(results.trials), results.baselines) == (2, ("densenet121",))
    for wrong, said in ((("resnet",), "unknown baseline 'resnet'; known: statistics, pca, mlp"), ("cnn", "a tuple")):
        with pytest.raises(StudyError, match=said):
            replace(SPEC, baselines=wrong)
