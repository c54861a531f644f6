"""What an exported network promises: the same probabilities as in memory, for whoever has only the folder."""

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import optuna
import pytest
import torch
from PIL import Image

import nas
from nas.commands.cli import main_of
from nas.models import inference as predicting
from nas.models.card import model_card
from nas.models.export import describe_model, export
from nas.models.inference import predict
from search_space import Backbone, HybridSpace, Toy, build_model, to_dict
from trainers.batch.normalise import Normalisation, resolve
from trainers.config import NORMALISATIONS, Augmentation, TrainConfig
from trainers.data import Folder, load
from trainers.evaluate import outputs
from trainers.tasks.substructure import Task

TASK = Task(classes=("axion", "cdm", "no_sub"))
METRICS = {"auc": 0.91, "accuracy": 0.8, "loss": 0.5}
ORIGIN = {
    "data": {"source": {"kind": "simulated", "images": 60, "preset": "fair"}, "train": 51, "test": 9},
    "search": {"study": "tiny", "trial": 7, "finished": 9, "objective": "auc", "validation": 0.95, "parameters": 10,
               "macs": 20},
    "test": {"seeds": [0, 1], "of_seed": {"0": METRICS, "1": METRICS}, "mean": METRICS,
             "sd": {"auc": 0.012, "accuracy": 0.1, "loss": 0.1}, "ensemble": METRICS},
}  # fmt: skip


def randomised(model, images):
    """Weights and buffers that no fresh network has, so that a forgotten one shows; batch norms have seen `images`."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = None  # the mean over all batches seen
                module.reset_running_stats()
        model.train()(images)
    return model.eval()


def exported(folder, architecture, kind="zscore", in_chans=1, image_size=32, statistics=None):
    torch.manual_seed(0)
    model = build_model(architecture, in_chans=in_chans, image_size=image_size, num_outputs=3)
    model = randomised(model, torch.randn(16, in_chans, image_size, image_size))
    config = {
        "architecture": to_dict(architecture),
        "training": TrainConfig(normalisation=kind).to_dict(),
        "seed": 0,
    }
    shape = {"in_chans": in_chans, "image_size": image_size, "normalisation": Normalisation(kind, statistics)}
    export(folder, model.state_dict(), describe_model(config, task_name="substructure", task=TASK, **shape, **ORIGIN))
    return model


def random_architecture(seed):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return HybridSpace().sample(study.ask(), image_size=32)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "resnet"
    exported(folder, Toy("resnet2"))
    return folder


@pytest.mark.parametrize("seed", range(8))
def test_an_exported_network_gives_the_very_same_probabilities(tmp_path, seed):
    normalisation = NORMALISATIONS[seed % len(NORMALISATIONS)]
    in_chans = 1 + 2 * (seed % 2)
    model = exported(tmp_path / "m", random_architecture(seed), normalisation, in_chans)
    images = torch.rand(5, in_chans, 32, 32) * 100
    expected = TASK.predict(outputs(model, images, normalisation=normalisation, device="cpu"))
    loaded = nas.load_model(tmp_path / "m")
    said = predict(loaded, images)
    assert not loaded.training
    assert torch.equal(said.probabilities, expected)
    assert said.classes == TASK.classes
    assert said.labels == [TASK.classes[k] for k in expected.argmax(-1)]
    assert expected.std(0).max() > 1e-6, "the network tells images apart at all"


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_the_statistics_of_the_training_images_go_with_the_network(tmp_path, kind):
    """An image alone is prepared as among others, and not by its own pixels."""
    images = torch.rand(40, 1, 32, 32) * torch.linspace(1, 9, 40)[:, None, None, None]
    fixed = resolve(TrainConfig(normalisation=kind, normalisation_scope="global"), images)
    model = exported(tmp_path / "m", Toy("resnet2"), kind, statistics=fixed.statistics)
    expected = outputs(model, images[5:6], normalisation=fixed, device="cpu")
    said = predict(nas.load_model(tmp_path / "m"), images[5:6])
    assert torch.equal(said.probabilities, TASK.predict(expected))
    assert not torch.allclose(outputs(model, images[5:6], normalisation=kind, device="cpu"), expected)
    assert f"{kind}, by the training images" in (tmp_path / "m" / "README.md").read_text()


@pytest.mark.parametrize(
    ("augmentation", "says"),
    [
        (Augmentation(), "by random angles"),
        (Augmentation(rotation=45, d4=True), "by random angles"),
        (Augmentation(rotation=0, d4=True), "by random quarter turns: "),
        (Augmentation(rotation=10, d4=True), "by random quarter turns and at most 10 degrees more: "),
        (Augmentation(rotation=0), "by at most 0 degrees: "),
    ],
)
def test_the_card_says_how_far_training_images_were_turned(tmp_path, augmentation, says):
    exported(tmp_path / "m", Toy("lenet"))
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["training"]["augmentation"] = dataclasses.asdict(augmentation)
    assert f"Training images were turned {says}" in model_card(config)


def test_images_as_stored_are_prepared_as_those_of_the_training(tmp_path):
    """A folder of 48 pixel JPEGs, converted to 32 for training, against the same files given to predict."""
    rng = np.random.default_rng(0)
    for label in ("cdm", "no_sub"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(20):
            picture = Image.fromarray(rng.integers(0, 256, (48, 48), dtype=np.uint8))
            picture.save(tmp_path / "data" / label / f"{i}.png")
    data = load(Folder(str(tmp_path / "data"), image_size=32), progress=False, cache=tmp_path / "cache")
    model = exported(tmp_path / "m", Toy("lenet"), "asinh")
    expected = TASK.predict(outputs(model, data.train.images, normalisation="asinh", device="cpu"))
    files = predicting.image_files([tmp_path / "data"])
    assert len(files) == 40
    found = {
        tuple(row)
        for _, said in predicting.predict_files(nas.load_model(tmp_path / "m"), files)
        for row in said.probabilities.tolist()
    }
    assert {tuple(row) for row in expected.tolist()} <= found


def test_importing_nas_imports_neither_torch_nor_ray_and_using_a_model_no_ray_no_optuna(model_folder):
    code = f"""
import sys, nas
assert not {{"torch", "ray", "optuna"}} & set(sys.modules), "import nas"
model = nas.load_model({str(model_folder)!r})
import torch
nas.predict(model, torch.rand(2, 1, 32, 32))
assert not {{"ray", "optuna", "plotly"}} & set(sys.modules), "load_model and predict"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_code_in_the_card_runs(tmp_path, model_folder, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (model_folder / "README.md").read_text(), re.DOTALL)
    np.save(tmp_path / "lens.npy", np.random.default_rng(0).random((32, 32)))
    monkeypatch.chdir(tmp_path)
    exec(code.replace("path/of/this/folder", str(model_folder)), {})
    assert "Prediction(classes=('axion', 'cdm', 'no_sub')" in capsys.readouterr().out


def test_arrays_and_files_are_predicted_alike(tmp_path, model_folder):
    """Also arrays as FITS files hold them, big-endian, and mirrored ones, whose strides are negative."""
    images = np.random.default_rng(0).random((3, 1, 40, 40))
    for i, image in enumerate(images):
        np.save(tmp_path / f"{i}.npy", image)
    model = nas.load_model(model_folder)
    expected = nas.predict(model, images).probabilities
    for same in (images.astype(">f8"), images[..., ::-1][..., ::-1], torch.from_numpy(images), tmp_path):
        assert torch.allclose(nas.predict(model, same).probabilities, expected, rtol=0, atol=1e-6)
    assert len(nas.predict(model, []).probabilities) == 0
    half = torch.from_numpy(images).bfloat16().requires_grad_()
    assert torch.allclose(nas.predict(model, half).probabilities, expected, atol=0.02)
    mirrored = nas.predict(model, images[..., ::-1]).probabilities
    assert torch.equal(mirrored, nas.predict(model, images[..., ::-1].copy()).probabilities)


def test_a_network_that_began_with_published_weights_is_loaded_without_them(tmp_path):
    model = exported(tmp_path / "m", Backbone("resnet10t"))
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["architecture"] |= {"pretrained": True, "checkpoint": str(tmp_path / "gone.pth")}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    images = torch.rand(2, 1, 32, 32)
    expected = TASK.predict(outputs(model, images, normalisation="zscore", device="cpu"))
    assert torch.equal(predict(nas.load_model(tmp_path / "m"), images).probabilities, expected)


def test_loading_a_network_draws_nothing_from_the_random_generator(model_folder):
    before = torch.get_rng_state()
    nas.load_model(model_folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_card_tells_the_figures_and_how_the_weights_were_chosen(model_folder):
    card = (model_folder / "README.md").read_text()
    for words in ("0.9100 ± 0.0120", "seed 0", "axion, cdm, no_sub", "first seed", "random angles", "0.9500"):
        assert words in card


def damage(folder, kind):
    if kind == "no weights":
        (folder / "model.safetensors").unlink()
    elif kind == "cut weights":
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    elif kind == "broken config":
        (folder / "config.json").write_text("{")
    else:
        config = json.loads((folder / "config.json").read_text())
        change = {
            "other format": {"format": 99},
            "other network": {"architecture": {"kind": "toy", "name": "lenet"}},
            "unknown task": {"task": {"name": "astrology"}},
            "unknown architecture": {"architecture": {"kind": "oracle"}},
        }[kind]
        (folder / "config.json").write_text(json.dumps({**config, **change}))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no weights", "model.safetensors is missing"),
        ("cut weights", "cannot be used"),
        ("broken config", "cannot be used"),
        ("other format", "its format is 99"),
        ("other network", "do not fit the network"),
        ("unknown task", "unknown task 'astrology'; known: "),
        ("unknown architecture", "unknown kind of architecture 'oracle'"),
    ],
)
def test_a_damaged_model_is_refused_in_one_line(tmp_path, capsys, kind, said):
    exported(tmp_path / "m", Toy("resnet2"))
    damage(tmp_path / "m", kind)
    np.save(tmp_path / "lens.npy", np.ones((32, 32)))
    assert main_of("predict", ["--model", str(tmp_path / "m"), str(tmp_path / "lens.npy")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.npy", None, "does not exist"),
        ("empty", "folder", "holds no images"),
        ("text.npy", b"not an array", "cannot be read"),
        ("picture.png", b"not a picture", "cannot be read"),
        ("nan.npy", np.full((32, 32), np.nan), "NaN"),
        ("colour.npy", np.ones((32, 32, 3)), "3 channels, but the model was trained on 1"),
        ("oblong.npy", np.ones((32, 40)), "40x32 pixels; expected square images"),
    ],
)
def test_an_image_that_cannot_be_used_is_named_in_one_line(tmp_path, capsys, model_folder, name, content, said):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.mkdir()
    elif content is not None:
        np.save(path, content)
    np.save(tmp_path / "good.npy", np.random.default_rng(0).random((32, 32)))
    assert main_of("predict", ["--model", str(model_folder), str(tmp_path / "good.npy"), str(path)]) == 2
    captured = capsys.readouterr()
    assert name in captured.err
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out, "no half of a result"


def test_predict_prints_a_table_and_json_of_files_and_folders(tmp_path, capsys, model_folder):
    rng = np.random.default_rng(0)
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder" / "float.npy", rng.random((1, 48, 48)))
    np.save(tmp_path / "folder" / "counts.npy", rng.integers(0, 1000, (32, 32)))
    Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(tmp_path / "one.jpg")
    arguments = ["--model", str(model_folder), str(tmp_path / "one.jpg"), str(tmp_path / "folder")]
    assert main_of("predict", [*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [p["file"].rsplit("/", 1)[1] for p in said["predictions"]] == ["one.jpg", "counts.npy", "float.npy"]
    for prediction in said["predictions"]:
        assert sum(prediction["probabilities"].values()) == pytest.approx(1)
        assert prediction["class"] == max(prediction["probabilities"], key=prediction["probabilities"].get)
    assert main_of("predict", arguments) == 0
    table = capsys.readouterr().out
    for prediction in said["predictions"]:
        line = next(line for line in table.splitlines() if prediction["file"] in line)
        assert prediction["class"] in line
        assert f"{max(prediction['probabilities'].values()):.3f}" in line
