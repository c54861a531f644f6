"""What a model in another format promises: the same answers, for whoever has only the file or the folder."""

import dataclasses
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from test_export import ORIGIN, TASK, described, ensemble, exported

import nas
from nas.commands.cli import main_of
from nas.models import formats
from nas.models.contents import describe_model
from nas.models.export import export
from nas.models.hub import without_path
from search_space import Backbone, Hybrid, Stage, Toy, build_model, mixers, to_dict
from trainers import tasks
from trainers.batch.normalise import Normalisation
from trainers.config import NORMALISATIONS
from trainers.regression import Regression

MIXERS = [(name, variant) for name in mixers.known() for variant in mixers.variants(name) or (None,)]
HARD = [("window", "v1"), ("anisotropic", "axial"), ("fourier", "gfnet")]  # the others take a minute together
IMAGES = 50 * torch.rand(200, 1, 32, 32, generator=torch.Generator().manual_seed(1)) ** 3


OWN_SOURCE = formats.own_source


@pytest.fixture(autouse=True)
def random_images(monkeypatch):
    """The models here were trained on nothing."""
    monkeypatch.setattr(formats, "own_source", lambda model: None)


def answers_of(file, images):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images.numpy()})


def hybrid(name, variant=None, **more):
    stage = Stage(name, 1 + (name == "window"), 16, options={"variant": variant} if variant else {})
    return Hybrid(stages=(stage,), **more)


@pytest.mark.timeout(1200)  # the exporter's first call alone takes seconds of an idle core
@pytest.mark.parametrize(
    ("name", "variant"), [pytest.param(*pair, marks=[] if pair in HARD else [pytest.mark.slow]) for pair in MIXERS]
)
def test_onnx_answers_as_torch_for_every_mixer(tmp_path, name, variant):
    """On 200 images, with each normalisation in turn; windows with and without a shift."""
    kind = NORMALISATIONS[MIXERS.index((name, variant)) % len(NORMALISATIONS)]
    exported(tmp_path / "m", hybrid(name, variant), kind)
    (written,) = nas.export(tmp_path / "m", onnx=True)
    expected = nas.predict(nas.load_model(tmp_path / "m"), IMAGES).probabilities.numpy()
    assert answers_of(written.path, IMAGES)[0] == pytest.approx(expected, abs=1e-5)
    assert expected.std(0).max() > 1e-3, "images get different answers"
    assert written.difference < 1e-5


SPECIAL = {"symmetry": ["d4"], "front_end": ["source", "residual", "gradient", "polar"]}


@pytest.mark.timeout(1200)
@pytest.mark.slow
@pytest.mark.parametrize(("part", "value"), [(part, value) for part, values in SPECIAL.items() for value in values])
def test_onnx_and_torch_export_answer_as_torch_for_symmetric_networks_and_front_ends(tmp_path, part, value):
    stages = (Stage("conv", 1, 16, options={"variant": "residual"}), Stage("attention", 1, 16, options={"heads": 2}))
    exported(tmp_path / "m", Hybrid(stages, **{part: value}), "asinh")
    onnx, program = nas.export(tmp_path / "m", onnx=True, torch_export=True)
    expected = nas.predict(nas.load_model(tmp_path / "m"), IMAGES).probabilities.numpy()
    assert answers_of(onnx.path, IMAGES)[0] == pytest.approx(expected, abs=1e-5)
    assert torch.export.load(program.path).module()(IMAGES)[0].detach().numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "architecture",
    [
        hybrid("attention", position="relative", head="class_token"),
        hybrid("attention", position="rotary", head="attention", stem="conv", norm="post", norm_layer="batch"),
        Hybrid((Stage("conv", 1, 16), Stage("attention", 1, 32, downsample=True)), patch=5, position="conditional"),
        Backbone("resnet18"),
        Toy("cnn"),
    ],
    ids=lambda architecture: getattr(architecture, "position", architecture.kind),
)
def test_onnx_answers_as_torch_for_every_other_part(tmp_path, architecture):
    exported(tmp_path / "m", architecture)
    (written,) = nas.export(tmp_path / "m", tmp_path / "out", onnx=True)
    assert written.path == tmp_path / "out" / "model.onnx"
    expected = nas.predict(nas.load_model(tmp_path / "m"), IMAGES[:5]).probabilities.numpy()
    assert answers_of(written.path, IMAGES[:5])[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["substructure", "axion_mass_sigma"])
def test_an_ensemble_with_eight_views_is_one_graph(tmp_path, capsys, name):
    """Three networks that count differently, each with a normalisation of its own, calibrated together."""
    numbers = dataclasses.replace(tasks.of_name("axion_mass_sigma"), mean=(-23.0,), sd=(0.5,))
    ensemble(tmp_path / "m", 8, {"8": 0.7}, TASK if name == "substructure" else numbers, name, last=Toy("mlp"))
    assert main_of("export", ["--model", str(tmp_path / "m"), "--onnx", "--torch-export"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(tmp_path / "m" / f) for f in ("model.onnx", "model.pt2")]
    assert all(re.search(r"\(answers within \d\.\de-\d\d of the model's on 200 random images\)$", li) for li in lines)
    said = nas.predict(nas.load_model(tmp_path / "m"), IMAGES)
    expected = [said.probabilities] if name == "substructure" else [said.values[:, None], said.sigma[:, None]]
    program = torch.export.load(str(tmp_path / "m" / "model.pt2")).module()
    for found in (answers_of(tmp_path / "m" / "model.onnx", IMAGES), program(IMAGES), program(IMAGES[:1])):
        for answer, right in zip(found, expected, strict=True):
            assert np.asarray(answer) == pytest.approx(right[: len(answer)].numpy(), abs=1e-5)
    kept = onnxruntime.InferenceSession(str(tmp_path / "m" / "model.onnx")).get_modelmeta().custom_metadata_map
    assert (kept["networks"], kept["views"]) == ("3", "8")
    assert json.loads(kept.get("classes", kept.get("quantities"))) == list(
        TASK.classes if "classes" in kept else numbers.quantities
    )


def test_every_number_is_calibrated_by_its_own_factor_also_in_a_graph(tmp_path):
    task = Regression(("a", "b"), with_sigma=True, mean=(1.0, 50.0), sd=(0.1, 7.0))
    network = build_model(Toy("mlp"), in_chans=1, image_size=32, num_outputs=4)
    member = described(Toy("mlp"), Normalisation("zscore"), task=task, name=task)
    shape = {"in_chans": 1, "image_size": 32}
    for name, factors in (("raw", None), ("calibrated", {"8": [0.5, 2.0]})):
        config = describe_model([member], task_name=task, task=task, **shape, views=8, calibration=factors, **ORIGIN)
        export(tmp_path / name, [network.state_dict()], config)
    raw, found = (nas.predict(tmp_path / name, IMAGES) for name in ("raw", "calibrated"))
    assert torch.equal(found.values, raw.values)
    assert torch.allclose(found.sigma, raw.sigma * torch.tensor([0.5, 2.0]))
    assert "scaled by 0.500, 2.000 to fit" in (tmp_path / "calibrated" / "README.md").read_text()
    written = nas.export(tmp_path / "calibrated", onnx=True, torch_export=True)
    assert all(one.difference < 1e-4 for one in written)


def test_a_graph_that_answers_otherwise_is_not_kept(tmp_path, monkeypatch):
    exported(tmp_path / "m", Toy("lenet"))
    monkeypatch.setattr(formats, "_by_onnxruntime", lambda file: lambda images: torch.ones(len(images), 3) / 3)
    with pytest.raises(nas.ModelFailed, match=r"onnx answers otherwise than the model, by up to 0\.\d+ on 200 images"):
        nas.export(tmp_path / "m", onnx=True)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_a_graph_is_compared_on_the_models_own_images_if_they_are_still_there(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(formats, "own_source", OWN_SOURCE)
    for i in range(30):
        (tmp_path / "data" / TASK.classes[i % 3]).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "data" / TASK.classes[i % 3] / f"{i}.npy", np.random.default_rng(i).random((32, 32)))
    data = {**ORIGIN["data"], "source": {"kind": "folder", "path": str(tmp_path / "data"), "image_size": 32}}
    exported(tmp_path / "m", Toy("lenet"), data=data)
    images, words = formats.images_of(nas.load_model(tmp_path / "m"))
    assert (images.shape, words) == ((30, 1, 32, 32), "30 of its own images")
    (tmp_path / "data").rename(tmp_path / "moved")
    images, words = formats.images_of(nas.load_model(tmp_path / "m"))
    assert (images.shape, words) == ((200, 1, 32, 32), "200 random images")


def test_the_layout_of_the_hub_has_a_card_that_it_reads_and_a_snippet_that_runs(tmp_path, monkeypatch):
    exported(tmp_path / "m", Toy("lenet"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    _, hub = nas.export(tmp_path / "m", onnx=True, hub=True, license="apache-2.0")
    assert {path.name for path in hub.path.iterdir()} == {"README.md", "config.json", "model.safetensors", "model.onnx"}
    from huggingface_hub import ModelCard

    card = ModelCard.load(hub.path / "README.md")
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "lensing-nas")
    assert card.data.pipeline_tag == "image-classification"
    assert {result.metric_type: result.metric_value for result in card.data.eval_results}["auc"] == 0.91
    images = np.random.default_rng(0).random((2, 1, 32, 32))
    same = [nas.load_model(folder).predict(images).probabilities for folder in (tmp_path / "m", hub.path)]
    assert torch.equal(*same)
    ours, theirs = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    for snippet, says in (
        (ours, "Prediction(classes=('axion', 'cdm', 'no_sub')"),
        (theirs, '["axion", "cdm", "no_sub"]'),
    ):
        done = subprocess.run(
            [sys.executable, "-c", snippet], cwd=hub.path, capture_output=True, text=True, check=False,
            env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""},
        )  # fmt: skip
        assert says in done.stdout, done.stderr


def test_the_layout_of_the_hub_names_the_folder_of_images_without_its_path(tmp_path):
    source = {"kind": "folder", "path": "/home/me/secret/lenses", "image_size": 32}
    data = {**ORIGIN["data"], "source": source, "searched": {**source, "path": "/home/me/secret/others"}}
    search = {**ORIGIN["search"], "started": "/home/me/secret/models/best"}
    exported(tmp_path / "m", Toy("lenet"), data=data, search=search)
    (hub,) = nas.export(tmp_path / "m", hub=True)
    for name in ("README.md", "config.json"):
        text = (hub.path / name).read_text()
        assert "secret" not in text
        assert "lenses" in text
    assert "secret" in (tmp_path / "m" / "config.json").read_text(), "it is read again from there"
    nas.load_model(hub.path)


def test_the_layout_of_the_hub_names_no_path_of_weights_and_only_the_licence_that_was_asked_for(tmp_path):
    exported(tmp_path / "m", Toy("lenet"))
    config = nas.load_model(tmp_path / "m").config
    network = to_dict(Backbone("resnet18", pretrained=True, checkpoint="/home/me/secret/euclid.pth"))
    written = without_path({**config, "members": [{**config["members"][0], "architecture": network}]})
    assert written["members"][0]["architecture"]["checkpoint"] == "euclid.pth"
    from huggingface_hub import ModelCard

    (hub,) = nas.export(tmp_path / "m", hub=True)
    assert ModelCard.load(hub.path / "README.md").data.license is None
    (hub,) = nas.export(tmp_path / "m", hub=True, license="cc-by-4.0")
    assert ModelCard.load(hub.path / "README.md").data.license == "cc-by-4.0"
    with pytest.raises(nas.UserError, match="stands in the card of hub/; ask for hub too"):
        nas.export(tmp_path / "m", onnx=True, license="mit")


def test_what_else_lies_in_a_layout_of_the_hub_is_not_lost(tmp_path):
    exported(tmp_path / "m", Toy("lenet"))
    (hub,) = nas.export(tmp_path / "m", hub=True)
    (hub.path / ".git").mkdir()
    with pytest.raises(nas.UserError, match=r"hub also holds \.git, which would be lost"):
        nas.export(tmp_path / "m", hub=True)
    assert (hub.path / ".git").is_dir()


def test_a_folder_named_hub_that_is_no_model_is_not_replaced(tmp_path):
    exported(tmp_path / "m", Toy("lenet"))
    (tmp_path / "out" / "hub").mkdir(parents=True)
    (tmp_path / "out" / "hub" / "mine.txt").write_text("precious")
    with pytest.raises(nas.UserError, match="holds no model, so it is not replaced"):
        nas.export(tmp_path / "m", tmp_path / "out", hub=True)
    assert (tmp_path / "out" / "hub" / "mine.txt").read_text() == "precious"
    (first,) = nas.export(tmp_path / "m", tmp_path / "other", hub=True)
    assert nas.export(tmp_path / "m", tmp_path / "other", hub=True) == (first,), "its own is"


def test_nothing_is_uploaded_without_a_token_and_all_of_it_to_a_private_repository_with_one(tmp_path, monkeypatch):
    exported(tmp_path / "m", Toy("lenet"))
    import huggingface_hub

    calls = []
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda self, name, **how: calls.append((name, how)))
    monkeypatch.setattr(
        huggingface_hub.HfApi, "upload_folder",
        lambda self, *, folder_path, repo_id, delete_patterns: calls.append(
            (repo_id, sorted(p.name for p in folder_path.iterdir()))
        ),
    )  # fmt: skip
    with pytest.raises(nas.UserError, match=r"there is no token of the Hugging Face Hub, .* set HF_TOKEN"):
        nas.export(tmp_path / "m", push="me/lens")
    assert not calls
    assert not (tmp_path / "m" / "hub").exists()
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    nas.export(tmp_path / "m", hub=True)
    assert not calls, "nobody asked for it"
    nas.export(tmp_path / "m", push="me/lens")
    files = ["README.md", "config.json", "model.safetensors"]
    assert calls == [("me/lens", {"private": True, "exist_ok": True}), ("me/lens", files)]
    assert 'snapshot_download("me/lens")' in (tmp_path / "m" / "hub" / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to write; ask for onnx, torch_export or hub"),
        (["--onnx"], "onnx needs onnxscript: pip install onnxscript"),
        (["--hub"], "hub needs huggingface_hub: pip install huggingface_hub"),
        (["--push", "lens"], "push is 'lens'; expected a repository"),
    ],
)
def test_what_is_missing_is_one_line_before_any_work(tmp_path, monkeypatch, capsys, words, says):
    exported(tmp_path / "m", Toy("lenet"))
    if "push" not in says:
        lacking = ("onnxscript", "huggingface_hub")
        monkeypatch.setattr(
            formats, "find_spec", lambda name: None if name in lacking else importlib.util.find_spec(name)
        )
    assert main_of("export", ["--model", str(tmp_path / "m"), *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_what_was_made_of_a_model_stays_until_the_model_is_another(tmp_path):
    exported(tmp_path / "m", Toy("lenet"))
    (tmp_path / "m" / "model.onnx").write_bytes(b"made of it")
    exported(tmp_path / "m", Toy("lenet"))
    assert (tmp_path / "m" / "model.onnx").read_bytes() == b"made of it"
    exported(tmp_path / "m", Toy("mlp"))
    assert not (tmp_path / "m" / "model.onnx").exists()
