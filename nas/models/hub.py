"""A model's folder in the layout of the Hugging Face Hub: the same files, and a README.md that the Hub reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import UserError
from nas.files import replacing, write_text
from nas.models.card import SHOWN, model_card
from nas.models.contents import installed
from nas.models.export import LensModel
from nas.models.training_images import FILE as TRAINED_ON
from nas.words import describe_data, metric_name
from trainers.data.dataset import shortened

OURS = ("README.md", "config.json", "model.safetensors", TRAINED_ON, "*.onnx")
TAGS = ["gravitational-lensing", "dark-matter", "astronomy", "neural-architecture-search"]


def write(
    model: LensModel, folder: Path, out: Path, graph: Path | None = None, repository: str | None = None,
    licence: str | None = None,
) -> Path:  # fmt: skip
    """Write the layout of the model in `folder` to `out`, in place of an earlier one, and return `out`.

    graph: an ONNX file to add. repository: its name on the Hub, where the snippet fetches it from. licence: of the
    weights, by its name on the Hub; None: the card names none, since it depends on the images and on the weights that
    the training started from. UserError if `out` holds something else than a model.
    """
    if out.exists():
        if not (out / "config.json").is_file():
            raise UserError(f"{out} is there and holds no model, so it is not replaced; give another folder")
        ours = {path.name for pattern in OURS for path in out.glob(pattern)}
        if foreign := sorted({path.name for path in out.iterdir()} - ours):
            names = ", ".join(shortened(foreign))
            raise UserError(f"{out} also holds {names}, which would be lost; move that, or give another folder")
    with replacing(out) as scratch:
        for name in ("model.safetensors", TRAINED_ON):
            if (folder / name).exists():
                shutil.copyfile(folder / name, scratch / name)
        config = without_path(model.config)
        write_text(scratch / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        if graph is not None:
            shutil.copyfile(graph, scratch / graph.name)
        use = _use(model, graph, repository)
        write_text(scratch / "README.md", f"---\n{_metadata(config, graph, licence)}\n---\n\n{model_card(config, use)}")
    return out


def without_path(config: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of config.json with the names of files and folders alone: nobody else has their paths."""
    data, search = dict(config["data"]), dict(config["search"])
    for images in ("source", "searched"):
        if "path" in (data.get(images) or {}):
            data[images] = {**data[images], "path": Path(data[images]["path"]).name}
    if search.get("started"):
        search["started"] = Path(search["started"]).name
    members = []
    for member in config["members"]:
        network = dict(member["architecture"])
        if network.get("checkpoint"):
            network["checkpoint"] = Path(network["checkpoint"]).name
        members.append({**member, "architecture": network})
    return {**config, "data": data, "search": search, "members": members}


def _metadata(config: Mapping[str, Any], graph: Path | None, licence: str | None) -> str:
    """The front matter: what the Hub lists, with the figures on the test images."""
    from huggingface_hub import EvalResult, ModelCardData

    classifies = bool(config["task"].get("classes"))
    task = "image-classification" if classifies else "image-to-number"
    source = config["data"]["source"]
    test = config["test"]["views"][str(config["views"])]
    results = [
        EvalResult(
            task_type=task, dataset_type=str(source.get("kind")), dataset_name=describe_data(source),
            dataset_split="test", metric_type=name, metric_name=metric_name(name),
            metric_value=float(f"{test[name]:.6g}"),
        )
        for name in SHOWN
        if name in test
    ]  # fmt: skip
    more: dict[str, Any] = {"pipeline_tag": task} if classifies else {}
    return ModelCardData(
        license=licence,
        library_name="lensing-nas",
        tags=TAGS + ["onnx"] * (graph is not None),
        model_name=f"{config['search']['study']}, {config['name']}",
        eval_results=results,
        **more,
    ).to_yaml()


def _use(model: LensModel, graph: Path | None, repository: str | None) -> str:
    shape = f"(1, {model.in_chans}, {model.image_size}, {model.image_size})"
    fetch, place = "", '"."'
    if repository is not None:
        fetch, place = "import huggingface_hub\n", f'huggingface_hub.snapshot_download("{repository}")'
    where = "" if fetch else " in this folder"
    text = f"""`pip install .` in a clone of lensing-nas {installed("lensing-nas")}, then{where}

```python
{fetch}import numpy as np
import nas

model = nas.load_model({place})
images = np.random.default_rng(0).random({shape})  # your own, as stored: of any unit and size
print(model.predict(images))
```"""
    if graph is None:
        return text
    return f"""{text}

Or without this package: `pip install onnxruntime`, then in this folder

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{graph.name}")
images = np.random.default_rng(0).random({shape}).astype("float32")  # as stored, of this size
print(session.run(None, {{"images": images}}), session.get_modelmeta().custom_metadata_map)
```"""


def check_figures(model: LensModel, folder: Path) -> None:
    """UserError if the folder is of an earlier version, without figures for the card."""
    if "views" not in model.config.get("test", {}):
        raise UserError(f"{folder} has no figures for a card: an earlier version wrote it; export it with nas.retrain")


def check_token(repository: str) -> None:
    """UserError unless this is a name and there is a token with which to upload to it."""
    import huggingface_hub

    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UserError(f"push is {repository!r}; expected a repository of the Hugging Face Hub, such as owner/name")
    if not huggingface_hub.get_token():
        raise UserError(
            "there is no token of the Hugging Face Hub, so nothing can be uploaded: set HF_TOKEN or run hf auth login"
        )


def upload(folder: Path, repository: str) -> None:
    """Upload the layout to a repository of the Hub, which is created private. UserError if the Hub refuses it."""
    import huggingface_hub

    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repository, delete_patterns="*.onnx")  # of other weights
    except Exception as error:  # of the network and the Hub, of many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{folder} could not be uploaded to {repository}: {reason}") from error
