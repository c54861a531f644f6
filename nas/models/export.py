"""Export a trained network to a folder that needs no study, and load it. This needs neither Ray nor Optuna.

* model.safetensors: the weights
* config.json: everything needed to build the network and to prepare images for it, and its origin
* README.md: the model card
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nas.errors import UserError, mendable
from nas.files import replacing
from nas.models.card import model_card
from search_space import build_model, from_dict
from trainers import tasks
from trainers.batch.normalise import Normalisation
from trainers.tasks import Task

if TYPE_CHECKING:
    from nas.models.inference import Measurement, Prediction

FORMAT = 1
RESIZE = "bilinear, antialiased"  # trainers.data.image_file.resize


class LensModel(nn.Module):
    """A trained network that knows its task and how to prepare images.

    `model(images)` takes prepared float32 images (N, in_chans, image_size, image_size) and returns raw outputs
    (N, num_outputs). `model.predict(images)`, which is `nas.predict(model, images)`, takes images as stored and
    returns class probabilities, or values in the unit of the training targets.
    """

    def __init__(self, network: nn.Module, task: Task, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.network, self.task, self.config = network, task, config
        self.in_chans = int(config["in_chans"])
        self.image_size = int(config["image_size"])
        self.normalisation = Normalisation.from_json(config["normalisation"])

    @property
    def classes(self) -> tuple[str, ...]:
        return self.task.classes

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.network(images)
        return outputs

    def predict(self, images: Tensor | np.ndarray) -> Prediction | Measurement:
        """Predict from images (N, C, H, W) as stored; see `nas.predict`."""
        from nas.models.inference import predict

        return predict(self, images)


def describe_model(
    config: Mapping[str, Any],
    *,
    task_name: str,
    task: Task,
    in_chans: int,
    image_size: int,
    normalisation: Normalisation,
    **origin: Any,
) -> dict[str, Any]:
    """The contents of config.json. `config` is a `Configuration` as a dict; `origin` adds what else the card shows."""
    return {
        "format": FORMAT,
        "architecture": config["architecture"],
        "in_chans": in_chans,
        "image_size": image_size,
        "num_outputs": task.num_outputs,
        "task": tasks.to_record(task_name, task),
        "resize": RESIZE,
        "normalisation": normalisation.to_json(),
        "training": config["training"],
        "seed": config["seed"],
        **origin,
        "versions": {name: _version(name) for name in ("lensing-nas", "torch", "timm")},
    }


def export(folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write the network with these weights and the `config` of `describe_model`, in place of any earlier `folder`."""
    with replacing(folder) as scratch:
        save_file(independent(weights), scratch / "model.safetensors")
        (scratch / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (scratch / "README.md").write_text(model_card(config), encoding="utf-8")


def independent(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU that share no memory. Tied weights share theirs, which safetensors refuses."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}


@mendable
def load_model(folder: str | Path, *, device: str | torch.device = "cpu") -> LensModel:
    """Load the network exported to `folder`, in evaluation mode. UserError if `folder` has no usable one."""
    folder = Path(folder)
    for file in ("config.json", "model.safetensors"):
        if not (folder / file).is_file():
            raise UserError(
                f"no model in {folder} ({file} is missing); expected a folder that python -m nas.retrain wrote, "
                "such as runs/hybrid/models/best"
            )
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise UserError(f"its format is {config['format']}; expected {FORMAT}, the one that this version reads")
        task = tasks.from_record(config["task"])
        with torch.random.fork_rng(devices=[]):  # building draws initial weights, which are discarded
            network = build_model(
                from_dict(_without_weights(config["architecture"])),
                in_chans=config["in_chans"], image_size=config["image_size"], num_outputs=config["num_outputs"],
            )  # fmt: skip
        weights = load_file(folder / "model.safetensors")
    except KeyError as error:
        raise UserError(f"the model in {folder} cannot be used: config.json lacks {error}") from error
    except (ValueError, TypeError, SafetensorError) as error:
        raise UserError(f"the model in {folder} cannot be used: {str(error).splitlines()[0]}") from error
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        writer = config.get("versions", {}).get("lensing-nas", "an unknown version")
        raise UserError(
            f"the weights in {folder} do not fit the network that this version ({_version('lensing-nas')}) builds from "
            f"config.json; use the version that wrote them ({writer})"
        ) from error
    return LensModel(network, task, config).to(device).eval()


def _without_weights(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the published weights of an existing network: the folder has its own, so none need be downloaded."""
    return {key: value for key, value in architecture.items() if key not in ("pretrained", "checkpoint")}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"
