"""What an exported network promises: the same probabilities as in memory, for whoever has only the folder."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from astropy.io import fits
from PIL import Image
from safetensors.torch import load_file, save_file

import nas
from nas.commands.cli import main_of
from nas.errors import UserError
from nas.models import inference as predicting
from nas.models.card import model_card
from nas.models.contents import describe_member, describe_model
from nas.models.evaluation import own_source, source_for
from nas.models.export import export
from nas.models.inference import predict
from search_space import Backbone, Hybrid, HybridSpace, Stage, Toy, build_model, to_dict
from trainers import tasks
from trainers.batch.normalise import Normalisation, normalise, resolve
from trainers.config import NORMALISATIONS, Augmentation, TrainConfig
from trainers.data import Folder, Simulated, load, source_to_dict
from trainers.data.folder.fit import resize
from trainers.data.folder.image_file import Reading
from trainers.data.folder.missing import clipped
from trainers.data.given import to_array
from trainers.evaluate import outputs
from trainers.tasks.substructure import Task

TASK = Task(classes=("axion", "cdm", "no_sub"))
METRICS = {"auc": 0.91, "accuracy": 0.8, "loss": 0.5, "ece": 0.1, "nll": 0.2, "coverage_68": 0.6}
SPREAD = {name: {"mean": value, "sd": 0.012, "n": 2} for name, value in METRICS.items()}
ORIGIN = {
    "name": "trial 7",
    "data": {"source": {"kind": "simulated", "images": 60, "preset": "fair"}, "train": 51, "test": 9},
    "search": {"study": "tiny", "finished": 9, "objective": "auc", "greedy": False},
    "held_out": {"images": 0, "networks": 0},
    "test": {"views": {"1": METRICS, "8": METRICS}, "before": METRICS, "alone": SPREAD},
}
OF_MEMBER = {"trial": 7, "validation": 0.95, "parameters": 10, "macs": 20}


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


def built(architecture, in_chans=1, image_size=32, seed=0):
    torch.manual_seed(seed)
    model = build_model(architecture, in_chans=in_chans, image_size=image_size, num_outputs=3)
    return randomised(model, torch.randn(16, in_chans, image_size, image_size))


def described(architecture, normalisation, task=TASK, name="substructure", **more):
    training = TrainConfig(normalisation=normalisation.kind).to_dict()
    config = {"architecture": to_dict(architecture), "training": training, "seed": 0}
    return describe_member(config, task_name=name, task=task, normalisation=normalisation, **OF_MEMBER, **more)


def exported(folder, architecture, kind="zscore", in_chans=1, image_size=32, statistics=None, **more):
    model = built(architecture, in_chans, image_size)
    member = described(architecture, Normalisation(kind, statistics))
    shape = {"in_chans": in_chans, "image_size": image_size}
    config = describe_model([member], task_name="substructure", task=TASK, **shape, **{**ORIGIN, **more})
    export(folder, [model.state_dict()], config)
    return model


def random_architecture(seed):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return HybridSpace().sample(study.ask(), image_size=32)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "resnet"
    exported(folder, Toy("resnet2"))
    return folder


def test_names_of_any_bytes_are_exported_and_read_again(tmp_path, capsys):
    """A class is named by its folder, and a name of a folder is no text of any encoding."""
    odd = Task(classes=("axion", "caf\udce9", "no\x1b[31m"))
    member = described(Toy("lenet"), Normalisation("zscore"), task=odd)
    config = describe_model([member], task_name="substructure", task=odd, in_chans=1, image_size=32, **ORIGIN)
    export(tmp_path / "m", [built(Toy("lenet")).state_dict()], config)
    assert nas.load_model(tmp_path / "m").classes == odd.classes
    np.save(tmp_path / "image.npy", np.random.default_rng(0).random((32, 32)))
    for words in ([], ["--json"]):
        assert main_of("predict", ["--model", str(tmp_path / "m"), *words, str(tmp_path / "image.npy")]) == 0
        shown = capsys.readouterr().out
        assert "udce9" in shown
        assert "\x1b" not in shown


@pytest.mark.parametrize("seed", range(8))
def test_an_exported_network_gives_the_very_same_probabilities(tmp_path, seed):
    normalisation = NORMALISATIONS[seed % len(NORMALISATIONS)]
    in_chans = 1 + 2 * (seed % 2)
    model = exported(tmp_path / "m", random_architecture(seed), normalisation, in_chans)
    images = 100 * torch.rand(5, in_chans, 32, 32) ** torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]).view(5, 1, 1, 1)
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
    config["members"][0]["training"]["augmentation"] = dataclasses.asdict(augmentation)
    assert f"Training images were turned {says}" in model_card(config)
    config["members"][0]["architecture"]["symmetry"] = "c4"
    assert f"turned by quarters. Training images were turned {says}" in model_card(config)


def test_masked_pixels_of_an_array_are_missing_ones(tmp_path):
    exported(tmp_path / "m", Toy("lenet"))
    images = np.random.default_rng(0).random((3, 32, 32))
    masked = np.ma.masked_array(images, images > 0.97)
    filled, seen, as_it_is = (
        nas.predict(tmp_path / "m", given).probabilities for given in (masked.filled(np.nan), masked, images)
    )
    assert torch.equal(seen, filled)
    assert not torch.equal(seen, as_it_is)
    counts = np.ma.masked_array((1000 * images).astype(np.uint16), images > 0.97)
    assert to_array(counts)[images <= 0.97].tolist() == counts.data[images <= 0.97].tolist()
    assert np.isnan(to_array(counts)[images > 0.97]).all()


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


def test_predict_passes_over_what_a_search_passes_over(tmp_path):
    kept = [tmp_path / "a" / "1.npy", tmp_path / "a" / "deep" / "2.fits.gz", tmp_path / "b.npy"]
    junk = ["__MACOSX/._1.npy", "a/.ipynb_checkpoints/1.npy", "a/@eaDir/1.npy", "lost+found/1.npy", "a/._1.npy"]
    for file in (*kept, *(tmp_path / name for name in junk)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    assert predicting.image_files([tmp_path]) == kept


def test_skip_bad_leaves_out_and_names_the_images_that_cannot_be_used(tmp_path, capsys):
    exported(tmp_path / "m", Toy("lenet"))
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for i in range(4):
        np.save(tmp_path / "data" / f"{i}.npy", rng.random((32, 32)))
    (tmp_path / "data" / "1.npy").write_bytes(b"no image")
    np.save(tmp_path / "data" / "2.npy", rng.random((3, 32, 32)))
    words = ["--model", str(tmp_path / "m"), "--json", str(tmp_path / "data")]
    assert main_of("predict", words) == 2
    assert "1.npy cannot be read as an image" in capsys.readouterr().err
    assert main_of("predict", [*words, "--skip-bad"]) == 0
    said = capsys.readouterr()
    assert [row["file"][-5:] for row in json.loads(said.out)["predictions"]] == ["0.npy", "3.npy"]
    assert [line.startswith("left out: ") for line in said.err.splitlines()] == [True, True]
    assert json.loads(said.out)["summary"]["left_out"] == 2
    for name in ("0.npy", "3.npy"):
        (tmp_path / "data" / name).unlink()
    assert main_of("predict", [*words, "--skip-bad"]) == 2
    assert capsys.readouterr().err.endswith("error: none of the 2 images can be used\n")


def test_files_of_bands_are_predicted_as_the_channels_of_one_image(tmp_path):
    exported(tmp_path / "m", Toy("lenet"), in_chans=3, channels=("g", "r", "i"))
    model = nas.load_model(tmp_path / "m")
    images = np.random.default_rng(0).random((5, 3, 32, 32)).astype("f4")
    (tmp_path / "data").mkdir()
    for i, image in enumerate(images):
        for band, plane in zip("gri", image, strict=True):
            np.save(tmp_path / "data" / f"{i}-HSC-{band.upper()}.npy", plane)
    assert torch.equal(predict(model, tmp_path / "data").probabilities, predict(model, images).probabilities)
    ((files, _),) = predicting.predict_files(model, predicting.image_files([tmp_path / "data"]))
    assert [Path(file).name for file in files] == [f"{i}-HSC-G.npy" for i in range(5)]
    others = [tmp_path / f"0-{band}.npy" for band in "gzy"]
    for file, plane in zip(others, images[0], strict=True):
        np.save(file, plane)
    with pytest.raises(nas.UserError, match="has the channels g, z, y, but the model was trained on g, r, i"):
        predict(model, others)
    (tmp_path / "data" / "3-HSC-R.npy").unlink()
    with pytest.raises(nas.UserError, match=r"4 of 5 objects have a file for each of the bands g, r, i, and .* g, i\)"):
        predict(model, tmp_path / "data")


@pytest.mark.parametrize("form", ["npy", "folder", "npz", "h5", "pt"])
@pytest.mark.parametrize("chans", [1, 3])
def test_stacked_arrays_are_predicted_and_evaluated_as_arrays_are(tmp_path, monkeypatch, capsys, form, chans):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    exported(tmp_path / "m", Toy("lenet"), in_chans=chans)
    model, rng = nas.load_model(tmp_path / "m"), np.random.default_rng(0)
    images, labels = rng.random((300, chans, 32, 32)).astype("f4"), np.array(TASK.classes)[np.arange(300) % 3]
    stored, name = images[:, 0] if chans == 1 else images, f"set.{form}"
    if form == "npz":
        np.savez(tmp_path / name, x=stored, y=labels)
    elif form == "h5":
        with pytest.importorskip("h5py").File(tmp_path / name, "w") as file:
            file["x"], file["y"] = stored, labels.astype(object)
    elif form == "pt":
        torch.save({"x": torch.from_numpy(stored), "y": labels.tolist()}, tmp_path / name)
    else:
        folder = tmp_path / ("set.folder" if form == "folder" else "apart")
        folder.mkdir()
        np.save(folder / "labels.npy", labels)
        np.save(folder / "images.npy" if form == "folder" else tmp_path / name, stored)
    expected = predict(model, images).probabilities
    assert torch.equal(predict(model, tmp_path / name).probabilities, expected)
    if form != "npy":  # which has no labels
        found, wanted = (nas.evaluate(model, data).metrics for data in (tmp_path / name, (images, labels)))
        assert found == pytest.approx(wanted)
    assert main_of("predict", ["--model", str(tmp_path / "m"), "--json", str(tmp_path / name)]) == 0
    rows = json.loads(capsys.readouterr().out)["predictions"]
    assert [row["file"].rpartition("[")[2] for row in rows] == [f"{i}]" for i in range(300)]
    assert rows[299]["probabilities"] == dict(zip(model.classes, expected[299].tolist(), strict=True))


@pytest.mark.parametrize("fit", ["crop:40", "pad:50", "resize:24"])
def test_a_model_makes_images_of_any_size_those_that_it_was_trained_on(tmp_path, monkeypatch, fit):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    exported(tmp_path / "m", Toy("lenet"), reading=Reading(fit=fit))
    model, rng = nas.load_model(tmp_path / "m"), np.random.default_rng(0)
    for i in range(24):
        (tmp_path / "data" / TASK.classes[i % 3]).mkdir(parents=True, exist_ok=True)
        image = rng.random([(40, 50), (45, 40), (48, 48)][i % 3])
        np.save(tmp_path / "data" / TASK.classes[i % 3] / f"{i}.npy", image)
    data = load(Folder(str(tmp_path / "data"), image_size=32, fit=fit), progress=False)
    seen = torch.cat([split.images[:] for split in (data.train, data.val, data.test)])
    of_files, of_data = (
        np.sort(p.log().detach().numpy(), 0) for p in (predict(model, tmp_path / "data").probabilities, model(seen))
    )
    np.testing.assert_allclose(of_files, of_data, rtol=1e-5, atol=1e-5)
    assert nas.evaluate(model, tmp_path / "data").images == 24
    with pytest.raises(nas.UserError, match=r"the model's images are .*ed to .* pixels; give a folder of images"):
        nas.evaluate(model, (seen, [0, 1, 2] * 8))
    if fit != "resize:24":
        wrong = rng.random((1, 1, 30, 60))
        with pytest.raises(nas.UserError, match=r"image 0 cannot be used .is 60x30 pixels, too (few|many) to be"):
            predict(model, wrong)


def test_a_bad_row_of_a_stack_is_named_and_may_be_left_out(tmp_path, capsys):
    exported(tmp_path / "m", Toy("lenet"))
    images = np.random.default_rng(0).random((40, 32, 32))
    images[7, :9] = np.nan
    np.savez(tmp_path / "set.npz", x=images)
    words = ["--model", str(tmp_path / "m"), "--json", str(tmp_path / "set.npz")]
    assert main_of("predict", words) == 2
    assert "set.npz[7] cannot be used (holds NaN" in capsys.readouterr().err
    assert main_of("predict", [*words, "--skip-bad"]) == 0
    assert len(json.loads(capsys.readouterr().out)["predictions"]) == 39


@pytest.mark.parametrize("classes", [("no", "vort", "sphere"), ("no", "vort"), ("vort",)])
@pytest.mark.parametrize("place", ["test/{}", "{}"])
def test_a_folder_of_test_images_alone_can_be_evaluated(tmp_path, monkeypatch, capsys, classes, place):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    exported(tmp_path / "m", Toy("lenet"))
    model, rng = nas.load_model(tmp_path / "m"), np.random.default_rng(0)
    names = {"no": "no_sub", "vort": "axion", "sphere": "cdm"}
    right = []
    for label in classes:
        folder = tmp_path / "data" / place.format(label)
        folder.mkdir(parents=True)
        for i in range(2):
            np.save(folder / f"{i}.npy", rng.random((32, 32)))
            right.append(predict(model, [folder / f"{i}.npy"]).labels == [names[label]])
    found = nas.evaluate(model, tmp_path / "data")
    assert (found.images, found.metrics["accuracy"]) == (2 * len(classes), pytest.approx(np.mean(right)))
    assert ("auc" in found.metrics) == (len(classes) == 3), "needs every class"
    out = tmp_path / "found.json"
    assert (
        main_of("evaluate", ["--model", str(tmp_path / "m"), "--data", str(tmp_path / "data"), "--json", str(out)]) == 0
    )
    assert json.loads(out.read_text())["metrics"] == found.metrics
    capsys.readouterr()
    (tmp_path / "data" / place.format("vort") / "bad.npy").write_bytes(b"")
    with pytest.raises(nas.UserError, match=r"1 of .* images .* cannot be read"):
        nas.evaluate(model, tmp_path / "data")
    assert nas.evaluate(model, tmp_path / "data", skip_bad=True).metrics == found.metrics


@pytest.mark.parametrize("both", [False, True])
def test_classes_of_the_data_are_mapped_to_those_of_the_model(tmp_path, monkeypatch, capsys, both):
    """Two classes of the data may be one of the model."""
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    exported(tmp_path / "m", Toy("lenet"))
    rng, right = np.random.default_rng(0), []
    names = {"7": "axion", "spotted": "cdm" if both else "no_sub", "plain_ones": "cdm"}
    for label, meant in names.items():
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(5):
            np.save(tmp_path / "data" / label / f"{i}.npy", rng.random((32, 32)) ** 3)
            right.append(
                nas.load_model(tmp_path / "m").predict(tmp_path / "data" / label / f"{i}.npy").labels == [meant]
            )
    words = ["--model", str(tmp_path / "m"), "--data", str(tmp_path / "data"), "--json", str(tmp_path / "out.json")]
    assert main_of("evaluate", words) == 2
    assert "the model distinguishes axion, cdm, no_sub" in capsys.readouterr().err
    mapping = ",".join(f"{name}={meant}" for name, meant in names.items())
    assert main_of("evaluate", [*words, "--map", mapping]) == 0
    found = json.loads((tmp_path / "out.json").read_text())["metrics"]
    assert found["accuracy"] == pytest.approx(np.mean(right))
    assert ("f1" in found) != both, "which needs an image of every class"
    for wrong in ("7=lens", "8=cdm", "7"):
        with pytest.raises(nas.UserError, match=r"mapping has .*; expected a class of data .plain_ones, spotted, 7., "):
            nas.evaluate(nas.load_model(tmp_path / "m"), tmp_path / "data", mapping=wrong)
    with pytest.raises(nas.UserError, match="mapping says that 7 is axion and cdm; give it once"):
        nas.evaluate(nas.load_model(tmp_path / "m"), tmp_path / "data", mapping=f"{mapping},7=cdm")


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
    config["members"][0]["architecture"] |= {"pretrained": True, "checkpoint": str(tmp_path / "gone.pth")}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    images = torch.rand(2, 1, 32, 32)
    expected = TASK.predict(outputs(model, images, normalisation="zscore", device="cpu"))
    assert torch.equal(predict(nas.load_model(tmp_path / "m"), images).probabilities, expected)


def turned(images, k):
    """The eight symmetries of the square, by numpy."""
    images = np.asarray(images)
    return torch.from_numpy(np.rot90(images[..., ::-1] if k >= 4 else images, k % 4, (2, 3)).copy())


NORMALISED = (Normalisation("log"), Normalisation("minmax"), Normalisation("zscore"))
TIMES = (1, 3, 2)


def ensemble(folder, views, calibration=None, task=TASK, name="substructure", in_chans=1, last=None):
    """Three different networks with different preparations, which count differently; `last` replaces the third."""
    architectures = (Toy("resnet2"), Toy("lenet"), last or random_architecture(3))
    models = []
    for seed, architecture in enumerate(architectures):
        torch.manual_seed(seed)
        model = build_model(architecture, in_chans=in_chans, image_size=32, num_outputs=task.num_outputs)
        models.append(model.eval() if task.with_sigma else randomised(model, torch.randn(16, in_chans, 32, 32)))
    members = [
        described(architecture, how, task=dataclasses.replace(task, **of), name=name, times=times)
        for architecture, how, times, of in zip(
            architectures, NORMALISED, TIMES,
            [{"sigma_scale": 1.0 + k} if name.endswith("sigma") else {} for k in range(3)],
            strict=True,
        )
    ]  # fmt: skip
    shape = {"in_chans": in_chans, "image_size": 32}
    config = describe_model(members, task_name=name, task=task, **shape, views=views, calibration=calibration, **ORIGIN)
    export(folder, [model.state_dict() for model in models], config)
    return models


@pytest.mark.parametrize("views", [1, 8])
def test_an_ensemble_is_the_mean_over_its_members_and_views(tmp_path, views):
    models = ensemble(tmp_path / "m", views)
    images = torch.rand(5, 1, 32, 32) * 100
    with torch.inference_mode():
        each = [
            model(normalise(turned(images, k), how)).double().softmax(-1).numpy()
            for model, how, times in zip(models, NORMALISED, TIMES, strict=True)
            for _ in range(times)
            for k in range(views)
        ]
    said = nas.predict(nas.load_model(tmp_path / "m"), images).probabilities
    assert said.numpy() == pytest.approx(np.mean(each, axis=0), abs=1e-6)
    assert np.std(each, axis=0).max() > 1e-2, "the members differ"
    other = nas.load_model(tmp_path / "m", views=9 - views)
    assert not torch.allclose(nas.predict(other, images).probabilities, said, atol=1e-4)
    assert torch.equal(nas.predict(other, images, views=views).probabilities, said), "whoever asks for the views"


@pytest.mark.parametrize("chans", [1, 3])
@pytest.mark.parametrize("name", ["substructure", "axion_mass_sigma"])
def test_arrays_of_every_shape_that_files_have_get_the_answers_of_the_command(tmp_path, capsys, name, chans):
    """From an ensemble with eight views, calibrated: classes, or values with standard deviations."""
    numbers = dataclasses.replace(tasks.of_name("axion_mass_sigma"), mean=(-23.0,), sd=(0.5,))
    ensemble(tmp_path / "m", 8, {"8": 0.5}, TASK if name == "substructure" else numbers, name, in_chans=chans)
    model, images = nas.load_model(tmp_path / "m"), np.random.default_rng(0).random((3, chans, 40, 40)).astype("f4")
    for i, image in enumerate(images):
        np.save(tmp_path / f"{i}.npy", image)
    files = [str(tmp_path / f"{i}.npy") for i in range(3)]
    assert main_of("predict", ["--model", str(tmp_path / "m"), "--json", *files]) == 0
    said = json.loads(capsys.readouterr().out)
    last = images.transpose(0, 2, 3, 1)
    stacks = [images, torch.from_numpy(images), last, list(images), list(last), *([images[:, 0]] if chans == 1 else [])]
    single = [images[:1], last[:1], images[0], last[0], *([images[0, 0]] if chans == 1 else [])]
    for given, count in [*((stack, 3) for stack in stacks), *((image, 1) for image in single)]:
        answer = model.predict(given)
        found = torch.cat([answer.probabilities] if model.classes else [answer.values, answer.sigma]).flatten()
        rows = said["predictions"][:count]
        one_each = (
            [list(row["probabilities"].values()) for row in rows]
            if model.classes
            else ([row[key] for key in ("value", "sigma") for row in rows])
        )
        assert found.numpy() == pytest.approx(np.ravel(one_each), rel=1e-6)
    assert said.get("classes", said.get("quantity")) == (list(answer.classes) if model.classes else answer.quantity)
    with pytest.raises(nas.UserError, match=r"images have shape \(9,\); expected \(N, C, H, W\)"):
        model.predict(np.zeros(9))


def test_with_eight_views_a_turned_or_mirrored_image_gets_the_same_prediction(tmp_path):
    ensemble(tmp_path / "m", 8)
    model, images = nas.load_model(tmp_path / "m"), torch.rand(4, 1, 32, 32)
    said = nas.predict(model, images).probabilities
    for k in range(8):
        assert nas.predict(model, turned(images, k)).probabilities.numpy() == pytest.approx(said.numpy(), abs=1e-6)
    upright = [nas.predict(model, turned(images, k), views=1).probabilities for k in range(8)]
    assert torch.stack(upright).std(0).max() > 1e-3


def test_an_ensemble_with_standard_deviations_is_a_mixture_scaled_as_a_whole(tmp_path):
    """Mean and standard deviation of many draws from all members under all symmetries."""
    task = dataclasses.replace(tasks.of_name("axion_mass_sigma"), mean=(-23.0,), sd=(0.5,))
    models = ensemble(tmp_path / "m", 8, {"8": 0.5}, task, "axion_mass_sigma")
    images = torch.rand(3, 1, 32, 32)
    rng, draws = np.random.default_rng(0), []
    with torch.inference_mode():
        for i, (model, how, times) in enumerate(zip(models, NORMALISED, TIMES, strict=True)):
            for k in range(8):
                value, log_variance = model(normalise(turned(images, k), how)).double().numpy().T
                sigma = (1 + i) * 0.5 * np.exp(log_variance / 2)
                draws.append(-23 + 0.5 * value + sigma * rng.standard_normal((times * 20_000, 3)))
    draws = np.concatenate(draws)
    said = nas.predict(nas.load_model(tmp_path / "m"), images)
    assert said.values.numpy() == pytest.approx(draws.mean(0), abs=0.02)
    assert said.sigma.numpy() == pytest.approx(0.5 * draws.std(0), rel=0.02)


def test_the_temperature_is_that_of_the_number_of_views(tmp_path):
    ensemble(tmp_path / "plain", 8)
    ensemble(tmp_path / "calibrated", 8, {"8": 0.5})
    images = torch.rand(3, 1, 32, 32)
    plain, calibrated = (nas.load_model(tmp_path / name) for name in ("plain", "calibrated"))
    p = nas.predict(plain, images).probabilities ** 2
    assert torch.allclose(nas.predict(calibrated, images).probabilities, p / p.sum(1, keepdim=True), atol=1e-12)
    one = nas.predict(plain, images, views=1).probabilities
    assert torch.equal(nas.predict(calibrated, images, views=1).probabilities, one), "none is known for one view"


def test_a_model_is_a_torch_module_with_its_weights_in_the_file(tmp_path):
    ensemble(tmp_path / "m", 8)
    model, stored = nas.load_model(tmp_path / "m"), load_file(tmp_path / "m" / "model.safetensors")
    assert stored.keys() == model.state_dict().keys()
    images = torch.rand(2, 1, 32, 32, requires_grad=True)
    predicted = model(images)
    assert torch.allclose(predicted, nas.predict(model, images).probabilities, atol=1e-6)
    predicted[:, 0].sum().backward()
    assert images.grad.abs().min() >= 0
    assert images.grad.abs().max() > 0, "what of the image decides can be asked"


def test_a_folder_of_the_first_format_still_loads_but_has_no_card_for_the_hub(tmp_path):
    """One network, its weights without a prefix, with the figures of that version."""
    model = built(Toy("resnet2"))
    (tmp_path / "old").mkdir()
    config = {
        "format": 1, "architecture": {"kind": "toy", "name": "resnet2"}, "in_chans": 1, "image_size": 32,
        "num_outputs": 3, "task": {"name": "substructure", "classes": ["axion", "cdm", "no_sub"]},
        "resize": "bilinear, antialiased", "normalisation": "log", "training": TrainConfig().to_dict(), "seed": 11,
        "data": {"train": 51}, "search": {"study": "tiny", "trial": 7, "parameters": 10, "macs": 20}, "versions": {},
        "test": {"seeds": [11], "mean": {"auc": 0.9}},
    }  # fmt: skip
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), tmp_path / "old" / "model.safetensors")
    images = torch.rand(4, 1, 32, 32)
    expected = TASK.predict(outputs(model, images, normalisation="log", device="cpu"))
    loaded = nas.load_model(tmp_path / "old")
    assert loaded.views == 1
    assert torch.equal(nas.predict(loaded, images).probabilities, expected)
    assert nas.load_model(tmp_path / "old", views=8).views == 8
    with pytest.raises(nas.UserError, match="old has no figures for a card: an earlier version wrote it"):
        nas.export(tmp_path / "old", tmp_path / "out", hub=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("call", [nas.predict, nas.evaluate, lambda model, images, views: model(images, views)])
def test_another_number_of_views_is_refused(model_folder, call):
    images = torch.rand(2, 1, 32, 32)
    for attempt in (
        lambda: nas.load_model(model_folder, views=4),
        lambda: call(nas.load_model(model_folder), images, views=4),
    ):
        with pytest.raises(nas.UserError, match=r"views is 4; expected 1, .* or 8, "):
            attempt()


def test_loading_a_network_draws_nothing_from_the_random_generator(model_folder):
    before = torch.get_rng_state()
    nas.load_model(model_folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_may_be_named_by_its_folder(model_folder):
    images = np.random.default_rng(0).random((3, 32, 32))
    by_name = nas.predict(str(model_folder), images)
    assert torch.equal(by_name.probabilities, nas.predict(nas.load_model(model_folder), images).probabilities)
    with pytest.raises(nas.UserError, match="model is int; expected a model or the folder of one"):
        nas.predict(5, images)
    with pytest.raises(nas.UserError, match="no model in nowhere"):
        nas.evaluate("nowhere", images)


def test_the_card_of_a_symmetric_network_says_that_turning_changes_nothing(tmp_path):
    exported(tmp_path / "m", Hybrid((Stage("conv", 1, 16, options={"variant": "residual"}),), 4, symmetry="d4"))
    card = (tmp_path / "m" / "README.md").read_text()
    assert "the same answer whether it is turned by quarters" in card
    assert "may rely on it" not in card


def test_the_card_tells_the_figures_and_how_the_weights_were_chosen(model_folder):
    card = (model_folder / "README.md").read_text()
    for words in ("0.9100 ± 0.0120", "seed 0", "axion, cdm, no_sub", "random angles", "0.9500", "1 forward pass, 20 "):
        assert words in card


def test_the_card_of_an_ensemble_tells_how_its_errors_correlate_and_gives_intervals_of_true_positive_rates(
    model_folder,
):
    config = json.loads((model_folder / "config.json").read_text())
    test = config["test"]
    for part in (test["views"]["1"], test["views"]["8"]):
        part["tpr_at_fpr_0.01"] = 0.4
    test["alone"]["tpr_at_fpr_0.01"] = {"mean": 0.35, "sd": 0.02, "n": 2}
    assert "correlate" not in model_card(config), "of a model that an earlier version wrote"
    test |= {"interval": {"tpr_at_fpr_0.01": [0.31, 0.52]}, "correlation": 0.834}
    card = model_card(config)
    assert "| TPR at 1% false positives | 0.4000 (95% interval 0.310 to 0.520) | 0.3500 ± 0.0200 |" in card
    assert "one view) correlate by 0.83 on average" in card


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
            "other network": {"members": [{**config["members"][0], "architecture": {"kind": "toy", "name": "lenet"}}]},
            "unknown task": {"task": {"name": "astrology"}},
            "unknown architecture": {"members": [{**config["members"][0], "architecture": {"kind": "oracle"}}]},
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


def test_a_model_reads_images_as_in_training(tmp_path):
    """Missing pixels are filled and the image clipped, then resized; in a file as in an array of any byte order."""
    clip = (1.0, 99.0)
    exported(tmp_path / "m", Toy("resnet2"), reading=Reading(clip=clip))
    model = nas.load_model(tmp_path / "m")
    images = np.random.default_rng(0).random((3, 1, 64, 64))
    images[:, :, :2] = -9999
    images[:, :, 30, 30] = 500
    by_hand = images.copy()
    by_hand[:, :, :2] = np.sort(images[:, :, 2:].reshape(3, -1))[:, 62 * 32, None, None, None]
    by_hand = np.stack([resize(clipped(image, clip).astype(np.float32), 32) for image in by_hand])
    expected = model(torch.from_numpy(by_hand))
    np.save(tmp_path / "0.npy", images[0])
    assert torch.equal(predict(model, tmp_path / "0.npy").probabilities, model(torch.from_numpy(by_hand[:1])))
    for given in (images, images.astype(">f8"), images[::-1][::-1], torch.from_numpy(images)):
        assert torch.equal(predict(model, given).probabilities, expected)
    turned = np.ascontiguousarray(images[..., ::-1])
    assert torch.equal(predict(model, images[..., ::-1]).probabilities, predict(model, turned).probabilities)
    assert "clipped at the percentiles 1 and 99" in (tmp_path / "m" / "README.md").read_text()
    with pytest.raises(
        nas.UserError, match=r"image 1 cannot be used \(holds the sentinel -9999 and NaN .* 53% of its pixels"
    ):
        predict(model, np.where(np.arange(3 * 4096).reshape(images.shape) // 2048 == 3, np.nan, images))


def test_a_model_reads_the_hdus_that_it_was_trained_on(tmp_path):
    exported(tmp_path / "m", Toy("resnet2"), in_chans=2, channels=("G", "R"))
    model = nas.load_model(tmp_path / "m")
    g, r = np.random.default_rng(0).random((2, 32, 32)).astype(np.float32)

    def write(name, **planes):
        units = [fits.ImageHDU(plane, name=band) for band, plane in planes.items()]
        fits.HDUList([fits.PrimaryHDU(), *units]).writeto(tmp_path / name)
        return tmp_path / name

    expected = model(torch.from_numpy(np.stack([g, r])[None]))
    right = write("right.fits", HSC_R=r, HSC_G=g, MASK=g)
    assert torch.equal(predict(model, right).probabilities, expected)
    with pytest.raises(nas.UserError, match="has the channels G, I, but the model was trained on G, R"):
        predict(model, write("wrong.fits", G=g, I=r))
    odd = write("odd.fits", ONE=r, TWO=g)
    with pytest.raises(nas.UserError, match=r"has 2 HDUs .* choose with --hdu"):
        predict(model, odd)
    assert torch.equal(predict(model, odd, hdu="TWO,ONE").probabilities, expected)
    exported(tmp_path / "chosen", Toy("resnet2"), in_chans=2, reading=Reading(hdu=("TWO", "ONE")))
    assert torch.equal(predict(nas.load_model(tmp_path / "chosen"), odd).probabilities, expected)


def test_an_evaluation_reads_a_folder_as_the_model_was_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    exported(tmp_path / "m", Toy("resnet2"), reading=Reading(clip=(0.5, 99.5)))
    model = nas.load_model(tmp_path / "m")
    rng = np.random.default_rng(0)
    for label in TASK.classes:
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(4):
            np.save(tmp_path / "data" / label / f"{i}.npy", rng.random((32, 32)) ** 4 * 100)
    source = source_for(model, str(tmp_path / "data"))
    assert (source.clip, source.image_size) == ((0.5, 99.5), 32)
    assert nas.evaluate(model, str(tmp_path / "data")) == nas.evaluate(model, load(source, progress=False))
    with pytest.raises(nas.UserError, match=r"clipped at the percentiles 0\.5 and 99\.5; give a folder"):
        nas.evaluate(model, (rng.random((12, 32, 32)), np.arange(12) % 3))


def test_the_commands_take_the_number_of_views(tmp_path, capsys):
    ensemble(tmp_path / "m", 1)
    image = torch.rand(1, 1, 32, 32)
    np.save(tmp_path / "lens.npy", image[0].numpy())
    said = {}
    for views in (None, 1, 8):
        words = ["--model", str(tmp_path / "m"), *(["--views", str(views)] if views else []), "--json"]
        assert main_of("predict", [*words, str(tmp_path / "lens.npy")]) == 0
        said[views] = list(json.loads(capsys.readouterr().out)["predictions"][0]["probabilities"].values())
        expected = nas.predict(nas.load_model(tmp_path / "m", views=views), image).probabilities[0]
        assert said[views] == pytest.approx(expected.tolist())
    assert said[None] == said[1] != said[8]
    assert main_of("predict", ["--model", str(tmp_path / "m"), "--views", "4", str(tmp_path / "lens.npy")]) == 2
    assert "choose from 1, 8" in capsys.readouterr().err


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
    labels = [prediction["class"] for prediction in said["predictions"]]
    sure = np.mean([max(prediction["probabilities"].values()) for prediction in said["predictions"]])
    each = ", ".join(f"{name} {labels.count(name)}" for name in TASK.classes)
    assert table.endswith(f"\n3 images: {each}; mean confidence {sure:.3f}\n")
    assert said["summary"]["classes"] == {name: labels.count(name) for name in TASK.classes}
    for prediction in said["predictions"]:
        line = next(line for line in table.splitlines() if prediction["file"] in line)
        assert prediction["class"] in line
        assert f"{max(prediction['probabilities'].values()):.3f}" in line


def test_images_of_a_data_set_are_predicted_as_they_are_and_not_prepared_twice(tmp_path):
    """Those of a model that clips and crops have been clipped and cropped."""
    reading = Reading(fit="crop:48", clip=(5.0, 95.0))
    exported(tmp_path / "m", Toy("lenet"), reading=reading)
    model = nas.load_model(tmp_path / "m")
    prepared = torch.randn(4, 1, 32, 32)
    with torch.inference_mode():
        expected = model(prepared)
    found = nas.predict(model, prepared, prepared=True)
    assert torch.equal(found.probabilities, expected)
    assert found.views == model.views
    with pytest.raises(nas.UserError, match="too few to be cropped"):
        nas.predict(model, prepared)
    with pytest.raises(nas.UserError, match=r"images are no tensor \(N, 1, 32, 32\)"):
        nas.predict(model, torch.randn(4, 1, 48, 48), prepared=True)
    assert nas.predict(model, prepared[:0], prepared=True).probabilities.shape == (0, 3)
    with pytest.raises(nas.UserError, match="batch_size is 0; expected at least 1"):
        nas.predict(model, prepared, batch_size=0)
    for wrong in (5, None):
        with pytest.raises(nas.UserError, match=f"images are {wrong}; expected an array, files or folders"):
            nas.predict(model, wrong)


def test_a_data_set_of_another_size_is_refused_since_its_lenses_have_another_scale(tmp_path):
    exported(tmp_path / "m", Toy("lenet"))
    data = load(Simulated(images=30, image_size=48), progress=False, cache=tmp_path / "cache")
    with pytest.raises(nas.UserError, match="has images of 48 pixels, but the model was trained on 32; load"):
        nas.evaluate(tmp_path / "m", data)


def test_predicting_neither_samples_nor_trains_in_a_module_that_is_trained(tmp_path):
    """As where a user's own module holds the model."""
    exported(tmp_path / "m", Toy("resnet2"))
    model, images = nas.load_model(tmp_path / "m"), torch.rand(6, 1, 32, 32)
    before = nas.predict(model, images).probabilities
    model.train()
    assert torch.equal(nas.predict(model, images).probabilities, before)
    assert model.training, "as it was"
    assert torch.equal(nas.predict(model, images).probabilities, before)


def test_files_and_arrays_in_one_list_are_refused(model_folder):
    with pytest.raises(UserError, match=r"images hold 'a\.npy' beside arrays"):
        nas.predict(model_folder, ["a.npy", np.zeros((32, 32))])


def test_a_folder_without_a_path_is_not_taken_for_the_training_images(tmp_path, monkeypatch):
    """A model for the Hub names the folder alone, and another may have that name."""
    source = {**source_to_dict(Folder("cls")), "path": "cls"}
    exported(tmp_path / "m", Toy("lenet"), data={**ORIGIN["data"], "source": source})
    (tmp_path / "cls").mkdir()
    monkeypatch.chdir(tmp_path)
    assert own_source(nas.load_model("m")) is None
    exported(tmp_path / "m", Toy("lenet"), data={**ORIGIN["data"], "source": source_to_dict(Folder("cls"))})
    assert own_source(nas.load_model("m")) == Folder(str(tmp_path / "cls"))
