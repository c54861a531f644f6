"""What fine-tuning promises: networks that start as the model is, and everything else as in a retraining."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_export import ORIGIN

import nas
from nas.commands.cli import main_of
from nas.models import training_images
from nas.models.contents import describe_member, describe_model
from nas.models.export import export
from nas.retraining import finetuning
from nas.retraining.start import head_of, in_units, outputs_of
from search_space import Backbone, Hybrid, Stage, Toy, build_model, to_dict
from trainers.batch.normalise import Normalisation
from trainers.config import NO_AUGMENTATION, TrainConfig
from trainers.data import Split
from trainers.fit import fit
from trainers.regression import Regression
from trainers.tasks.substructure import Task

SIZE = 16
TRAINING = TrainConfig(epochs=2, batch_size=8, learning_rate=2e-3, warmup_epochs=0, augmentation=NO_AUGMENTATION)
pytestmark = pytest.mark.usefixtures("without_ray")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))


def stripes(count, seed, names=("level", "upright", "slanted")):
    """Noisy stripes in three directions, and the name of each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    kinds = np.arange(count) % 3
    along = np.stack([y, x, (x + y) / 1.5])[kinds]
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    images = np.sin(1.2 * along + phase) + 1.5 * rng.standard_normal((count, SIZE, SIZE))
    return images.astype("f4"), np.array(names)[kinds]


def model_of(folder, architecture, training, classes=("level", "slanted", "upright"), seeds=(0,), trained=0):
    """An exported model of a network for each seed, trained on `trained` stripes for eight epochs."""
    task, networks = Task(classes), []
    for seed in seeds:
        torch.manual_seed(seed)
        networks.append(build_model(architecture, in_chans=1, image_size=SIZE, num_outputs=len(classes)))
        if trained:
            images, labels = stripes(trained, 5)
            split = Split(torch.from_numpy(images)[:, None], torch.tensor([classes.index(name) for name in labels]), {})
            list(fit(networks[-1], split, task, dataclasses.replace(TRAINING, epochs=8), seed=seed))
    members = [
        describe_member(
            {"architecture": to_dict(architecture), "training": training.to_dict(), "seed": seed}, task=task,
            task_name="substructure", normalisation=Normalisation("zscore"), trial=7, parameters=1, macs=1,
            validation=0.9,
        )
        for seed in seeds
    ]  # fmt: skip
    source = {"kind": "simulated", "images": 60, "preset": "fair", "image_size": SIZE, "seed": 0}
    config = describe_model(
        members, task_name="substructure", task=task, in_chans=1, image_size=SIZE,
        **{**ORIGIN, "data": {**ORIGIN["data"], "source": source}},
    )  # fmt: skip
    export(folder, [network.state_dict() for network in networks], config)
    return networks


def data_of(seed, names=("level", "upright", "slanted"), train=48, test=300):
    return {
        "train": stripes(train, seed, names),
        "val": stripes(24, seed + 1, names),
        "test": stripes(test, seed + 2, names),
    }


def finetuned(folder, tmp_path, data, **options):
    return nas.retrain(start=folder, data=data, runs=tmp_path / "runs", baselines=False, quiet=True, **options)


@pytest.mark.parametrize("names", [("level", "upright", "slanted"), ("a", "b", "c"), ("a", "b", "b")])
def test_every_seed_starts_from_the_weights_of_a_network_of_the_model(tmp_path, names):
    """With steps too small to see, the networks that are handed out are those of the model, but for a new head."""
    standing = dataclasses.replace(TRAINING, epochs=1, learning_rate=1e-12)
    own = model_of(tmp_path / "m", Toy("lenet"), standing, seeds=(3, 4))
    found = finetuned(tmp_path / "m", tmp_path, data_of(0, names), seeds=3)
    assert found.started == str(tmp_path / "m")
    assert found.configurations[0].seeds == (5, 6, 7), "fresh ones"
    keep = set(names) == {"level", "upright", "slanted"}
    for k in range(3):
        weights = load_file(found.run.models / f"trial-7-seed-{5 + k}" / "model.safetensors")
        for name, weight in own[k % 2].state_dict().items():
            same = (
                torch.allclose(weights[f"networks.0.{name}"], weight, atol=1e-6)
                if (weights[f"networks.0.{name}"].shape == weight.shape)
                else False
            )
            assert same == (keep or not name.startswith("11.")), name
    assert "Fine-tuned: the weights started from those of the model" in (found.best / "README.md").read_text()
    assert "An exported model, fine-tuned" in found.run.retraining_report.read_text()


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        (Hybrid((Stage("conv", 1, 16),)), {"head.weight", "head.bias"}),
        (Backbone("resnet18"), {"net.fc.weight", "net.fc.bias"}),
        (Toy("cnn"), {"26.weight", "26.bias"}),
    ],
)
def test_the_head_is_what_depends_on_the_number_of_classes(tmp_path, architecture, head):
    model_of(tmp_path / "m", architecture, TRAINING)
    assert head_of(nas.load_model(tmp_path / "m"), 0) == head


@pytest.mark.parametrize("sigma", [False, True])
@pytest.mark.parametrize(
    "architecture", [Toy("cnn"), Hybrid((Stage("conv", 1, 16),), symmetry="d4"), Backbone("resnet10t")]
)
def test_a_head_that_is_kept_answers_as_before_on_images_with_other_numbers(architecture, sigma):
    before = Regression(("a", "b"), with_sigma=sigma, mean=(1.0, 5e3), sd=(0.5, 70.0), sigma_scale=(0.7, 1.5) * sigma)
    task = Regression(("a", "b"), with_sigma=sigma, mean=(3.0, 4e3), sd=(0.1, 300.0))
    network = build_model(architecture, in_chans=1, image_size=SIZE, num_outputs=task.num_outputs).eval()
    images = torch.randn(5, 1, SIZE, SIZE)
    wanted = before.predict(network(images))
    heads = outputs_of(architecture, {"in_chans": 1, "image_size": SIZE}, task.num_outputs)
    weights = network.state_dict()
    network.load_state_dict(
        {**weights, **{name: in_units(weights[name], name.endswith("bias"), before, task) for name in heads}}
    )
    assert len(heads) == 2
    torch.testing.assert_close(task.predict(network(images)), wanted, rtol=1e-4, atol=1e-4)


def test_the_fine_tunings_of_two_models_do_not_share_a_run(tmp_path):
    for run in ("one", "two"):
        model_of(tmp_path / run / "m", Toy("lenet"), TRAINING)
    finetuned(tmp_path / "one" / "m", tmp_path, data_of(0), seeds=1)
    with pytest.raises(
        nas.UserError, match=r"holds the fine-tuning of .*one/m, .* of .*two/m would replace; .* another --name"
    ):
        finetuned(tmp_path / "two" / "m", tmp_path, data_of(0), seeds=1)
    other = finetuned(tmp_path / "two" / "m", tmp_path, data_of(0), seeds=1, name="other")
    assert other.started.endswith("two/m")
    with pytest.raises(nas.UserError, match=r"which the retraining of a study would replace; move .*other.* elsewhere"):
        finetuning.check_run(other.run, "")
    record = json.loads(other.run.retraining_record.read_text())
    other.run.retraining_record.write_text(json.dumps({**record, "started": ""}))
    with pytest.raises(nas.UserError, match=r"holds the retraining of a study, .* give that one another --name"):
        finetuned(tmp_path / "two" / "m", tmp_path, data_of(0), seeds=1, name="other")


@pytest.mark.slow
def test_on_few_images_fine_tuning_beats_the_same_training_from_scratch(tmp_path, monkeypatch):
    model_of(tmp_path / "m", Toy("lenet"), TRAINING, trained=900)
    data = data_of(50, ("a", "b", "c"), train=24)
    tuned = finetuned(tmp_path / "m", tmp_path, data, seeds=2, name="tuned")
    monkeypatch.setattr(finetuning.Origin, "starting", lambda self, jobs, *_: jobs)
    scratch = finetuned(tmp_path / "m", tmp_path, data, seeds=2, name="scratch")
    assert tuned.configurations[0].spread["auc"].mean > scratch.configurations[0].spread["auc"].mean + 0.15
    assert [s.test for s in tuned.configurations] != [s.test for s in scratch.configurations]


def test_a_fine_tuning_that_is_repeated_trains_nothing_and_one_from_other_weights_trains_again(tmp_path, monkeypatch):
    from nas.retraining import baselines

    trained = []
    run = baselines.train_or_fit
    monkeypatch.setattr("nas.retraining.retrain.rivals.train_or_fit", lambda job: trained.append(job.name) or run(job))
    model_of(tmp_path / "m", Toy("mlp"), TRAINING)
    for seeds, expected in (((0,), 2), ((0,), 0), ((1,), 2)):
        trained.clear()
        model_of(tmp_path / "m", Toy("mlp"), TRAINING, seeds=seeds)
        finetuned(tmp_path / "m", tmp_path, data_of(0), seeds=1, name="same")
        assert len(trained) == expected


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": None}, "data is missing; to fine-tune the model"),
        ({"top_k": 2}, "top_k is 2, but all networks"),
        ({"trials": [3]}, "has no trial 3"),
        ({"start": "nowhere"}, "no model in nowhere"),
        ({"results": "runs/x"}, "give either a study"),
        ({"results": "runs/x", "start": None, "name": "n"}, "name is 'n', but a study is retrained in its own run"),
    ],
)
def test_a_wrong_use_is_one_line(tmp_path, change, says):
    model_of(tmp_path / "m", Toy("mlp"), TRAINING)
    with pytest.raises(nas.UserError, match=says):
        nas.retrain(**{"start": tmp_path / "m", "data": data_of(0), "runs": tmp_path / "runs", "quiet": True, **change})


def test_images_of_other_channels_or_of_the_models_training_are_refused(tmp_path, capsys):
    model_of(tmp_path / "m", Toy("mlp"), TRAINING)
    data = {name: (np.repeat(images[:, None], 3, 1), labels) for name, (images, labels) in data_of(0).items()}
    with pytest.raises(
        nas.UserError, match=r"the model's weights do not fit images of 3 x 16 x 16: it has 1 x 16 x 16"
    ):
        finetuned(tmp_path / "m", tmp_path, data)
    data = data_of(0)
    seen = torch.from_numpy(np.rot90(data["test"][0][:5], 1, (1, 2)).copy())[:, None]
    training_images.write(tmp_path / "m", training_images.digests(seen))
    with pytest.raises(nas.UserError, match="trained on 5 of the validation and test images"):
        finetuned(tmp_path / "m", tmp_path, data)


def test_the_command_fine_tunes_a_model_on_a_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model_of(tmp_path / "m", Toy("mlp"), TRAINING)
    images, labels = stripes(60, 9)
    np.savez(tmp_path / "other.npz", x=images, y=labels)
    words = ["--from", "m", "--data", "other.npz", "--seeds", "2", "--no-baselines", "--epochs", "1"]
    assert main_of("retrain", [*words, "--study", "toys"]) == 2
    assert "leave --study and --storage out" in capsys.readouterr().err
    assert main_of("retrain", words) == 0
    said = capsys.readouterr().out
    assert f"fine-tuning: starting from the weights of {tmp_path / 'm'}" in said
    (run,) = (tmp_path / "runs").glob("tiny-from-m/data-other.npz-*")
    assert json.loads((run / "retrain.json").read_text())["started"] == str(tmp_path / "m")
    assert nas.load_model(run / "models" / "best").predict(images).labels


def test_a_fine_tuned_model_still_knows_the_images_of_its_first_training(tmp_path):
    model_of(tmp_path / "m", Toy("mlp"), TRAINING)
    first = torch.from_numpy(stripes(20, 99)[0])[:, None]
    training_images.write(tmp_path / "m", training_images.digests(first))
    model = nas.load_model(finetuned(tmp_path / "m", tmp_path, data_of(0), seeds=1).best)
    assert training_images.among(first, model.trained_on).all()
    assert training_images.among(torch.from_numpy(data_of(0)["train"][0])[:, None], model.trained_on).all()


def test_a_model_searched_for_one_class_is_fine_tuned_on_others_by_the_usual_objective(tmp_path):
    model_of(tmp_path / "m", Toy("mlp"), TRAINING)
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["search"]["objective"] = "auc_level"
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    assert finetuned(tmp_path / "m", tmp_path, data_of(0), seeds=1, name="same").objective == "auc_level"
    other = data_of(0, ("flat", "steep", "round"))
    assert finetuned(tmp_path / "m", tmp_path, other, seeds=1, name="other").objective == "auc"
