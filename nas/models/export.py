"""Export trained networks to a folder that needs no study, and load it. This needs neither Ray nor Optuna.

* model.safetensors: the weights of one network, or of the several of an ensemble
* config.json: everything needed to build the networks and to prepare images for them, and their origin
* trained_on.npy: a digest of every image that they were trained on (training_images.py)
* README.md: the model card
"""

from __future__ import annotations

import filecmp
import json
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nas.checks import path_of
from nas.errors import ModelFailed, UserError, mendable
from nas.files import replacing, write_text
from nas.models import training_images
from nas.models.card import model_card
from nas.models.contents import FORMAT
from nas.models.record import LARGEST, architectures, checked
from nas.own_code import edited
from nas.versions import installed
from search_space import build_model
from trainers import calibrate, tasks
from trainers.batch.normalise import Normalisation, normalise
from trainers.data.folder.image_file import Reading
from trainers.data.folder.passbands import wavelength
from trainers.evaluate import turned
from trainers.tasks import Task

if TYPE_CHECKING:
    from nas.models.predicted import Measurement, Prediction


@dataclass(frozen=True)
class Member:
    """How a network of a model prepares images and what its outputs mean."""

    normalisation: Normalisation
    task: Task
    times: int  # that it counts in the combined prediction


class LensModel(nn.Module):
    """A trained network, or an ensemble of several, that knows its task and how to prepare images.

    `model(images)` takes images of any real type and unit as stored, brought to (N, in_chans, image_size, image_size).
    It returns the task's predictions in float64: class probabilities (N, classes), or values in the unit of the
    training targets (N, targets), followed by their standard deviations where the task has them. They combine those of
    all networks, with 8 `views` for every symmetry of the square, and are calibrated. ModelFailed if one is not finite.
    `model.networks` are the bare networks.
    `model.predict(images)`, which is `nas.predict(model, images)`, takes images of any size in any shape that files
    have, and files. Its answer names the classes, or the quantities with their units.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        config: Mapping[str, Any],
        views: int | None = None,
        trained_on: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.networks, self.config = nn.ModuleList(networks), config
        self.trained_on = trained_on  # digests of the training images, as in `training_images.digests`; None: not known
        self.views = checked(config["views"] if views is None else views)
        self.task = tasks.from_record(config["task"])
        self.in_chans = int(config["in_chans"])
        self.image_size = int(config["image_size"])
        self.reading = Reading(**config.get("reading", {}))  # how images are read from files
        self.channels = tuple(config.get("channels", ()))  # the bands or HDUs that they come from
        self.calibration: Mapping[str, calibrate.Factor] = config["calibration"]  # by number of views
        self.members = [
            Member(Normalisation.from_json(m["normalisation"]), tasks.from_record(m["task"]), int(m["times"]))
            for m in config["members"]
        ]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.task.classes

    def other_channels(self, found: Sequence[str]) -> str:
        """What to say of HDUs that are other bands than the model's; empty unless it is known that they are."""
        ours, theirs = ([wavelength(name) for name in names] for names in (self.channels, found))
        if None in ours + theirs or not ours or not theirs or ours == theirs:
            return ""
        return f"has the channels {', '.join(found)}, but the model was trained on {', '.join(self.channels)}"

    def forward(self, images: Tensor, views: int | None = None) -> Tensor:
        views = self.views if views is None else checked(views)
        each: list[list[Tensor]] = [[] for _ in range(views)]  # the networks' predictions under each symmetry
        for network, member in zip(self.networks, self.members, strict=True):
            prepared = normalise(images, member.normalisation)
            for raw, found in zip(_outputs(network, prepared, views), each, strict=True):
                raw = raw.float()
                raw = raw.cpu() if raw.device.type == "mps" else raw  # which has no float64
                found += [member.task.predict(raw)] * member.times
        predicted = self.task.combine([self.task.combine(found) for found in each])
        predicted = calibrate.apply(self.calibration.get(str(views)), predicted, self.task)
        if not torch.compiler.is_compiling() and not torch.isfinite(predicted).all():
            raise ModelFailed("the model's predictions are not finite: it does not suit these images; train it again")
        return predicted

    def predict(self, images: Any, **options: Any) -> Prediction | Measurement:
        """Predict from images as stored, or from files; see `nas.predict`, which has these options."""
        from nas.models.inference import predict

        return predict(self, images, **options)


def _outputs(network: nn.Module, images: Tensor, views: int) -> Iterable[Tensor]:
    """The network's outputs for normalised images under the first `views` symmetries.

    A compiled graph holds the network once and sees all views as one batch, an eighth of the nodes.
    """
    symmetric = (turned(images, symmetry) for symmetry in range(views))
    if torch.compiler.is_compiling():
        return network(torch.cat(list(symmetric))).unflatten(0, (views, -1)).unbind()
    return map(network, symmetric)


def export(
    folder: Path,
    weights: Sequence[Mapping[str, Tensor]],
    config: Mapping[str, Any],
    trained_on: np.ndarray | None = None,
) -> None:
    """Write networks with these weights and the `config` of `describe_model`, in place of any earlier `folder`.

    trained_on: the digests of their training images, by `training_images.digests`.
    """
    named = {f"{_prefix(i)}{name}": tensor for i, each in enumerate(weights) for name, tensor in each.items()}
    with replacing(folder) as scratch:
        save_file(independent(named), scratch / "model.safetensors")
        write_text(scratch / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        write_text(scratch / "README.md", model_card(config))
        if trained_on is not None:
            training_images.write(scratch, trained_on)
        if all(_same(folder / name, scratch / name) for name in ("model.safetensors", "config.json")):
            for path in folder.iterdir():  # what `nas.export` made of it
                if not (scratch / path.name).exists():
                    shutil.copytree(path, scratch / path.name) if path.is_dir() else shutil.copy2(path, scratch)


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and filecmp.cmp(one, other, shallow=False)


def _prefix(network: int) -> str:
    """How the names of a network's weights begin in a model's state."""
    return f"networks.{network}."


def independent(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU that share no memory. Tied weights share theirs, which safetensors refuses."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}


@mendable
def load_model(folder: str | Path, *, views: int | None = None, device: str | torch.device = "cpu") -> LensModel:
    """Load the model exported to `folder`, in evaluation mode.

    views: 8 combines the predictions for all symmetries of the square, 1 predicts each image as it is; None: as
        exported. UserError if `folder` has no usable model, ModelFailed if its weights are not finite.
    """
    if views is not None:
        checked(views)
    folder = path_of("folder", folder)
    try:
        device = torch.empty(0, device=device).device
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:  # by the kind of device
        raise UserError(f"device is {str(device)!r}; expected one that torch has here, such as cpu") from error
    for file in ("config.json", "model.safetensors"):
        if not (folder / file).is_file():
            raise UserError(
                f"no model in {folder} ({file} is missing); expected a folder that python -m nas.retrain wrote, "
                "such as runs/hybrid/models/best"
            )
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise UserError(f"config.json holds {type(config).__name__}; expected an object")
        weights = load_file(folder / "model.safetensors")
        if config.get("format") == 1:
            config = _of_format_1(config)
            weights = {f"{_prefix(0)}{name}": tensor for name, tensor in weights.items()}
        if config.get("format") != FORMAT:
            raise UserError(
                f"its format is {config.get('format')!r}; expected at most {FORMAT}, which this version writes"
            )
        model = _fitting(config, weights, views, training_images.read(folder))
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(f"the model in {folder} cannot be used: {reason}; export it again with nas.retrain") from error
    if wrong := [name for name, weight in weights.items() if not torch.isfinite(weight).all()]:
        raise ModelFailed(
            f"the weights in {folder} are not finite ({wrong[0]}), and no prediction would be: train again"
        )
    code = config.get("code")
    if isinstance(code, dict) and (names := edited(code)):
        warnings.warn(
            f"edited since the model in {folder} was exported: {names}; it may be another model now, and its figures "
            "not hold",
            stacklevel=3,
        )
    model.load_state_dict(weights)
    return model.to(device).eval()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for as long as the block lasts: a module that holds the model may be in training."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def opened(model: LensModel | str | Path) -> LensModel:
    """The model, or that in a folder. UserError if it is neither."""
    if not isinstance(model, LensModel | str | Path):
        raise UserError(f"model is {type(model).__name__}; expected a model or the folder of one")
    return model if isinstance(model, LensModel) else load_model(model)


def untrained(model: LensModel) -> LensModel:
    """The same model with random weights, whatever its networks began with, on its device, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = _networks(model.config)
    return LensModel(networks, model.config, model.views).to(next(model.parameters()).device).eval()


def _networks(config: Mapping[str, Any]) -> list[nn.Module]:
    """The networks of `config` with initial weights."""
    networks = architectures(config)  # which checks the numbers below
    shape = {name: int(config[name]) for name in LARGEST}
    return [build_model(network, **shape) for network in networks]


def _fitting(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], views: int | None, trained_on: np.ndarray | None
) -> LensModel:
    """The model of `config`. It is first built without memory: UserError unless its weights have just these shapes."""
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    try:
        with torch.device("meta"):
            bare = LensModel(_networks(config), config, views)
    except RuntimeError as error:  # a tensor of more bytes than there are
        raise UserError(f"its network cannot be built: {error}") from error
    if {name: tuple(tensor.shape) for name, tensor in bare.state_dict().items()} != found:
        versions = config.get("versions")
        writer = versions.get("lensing-nas") if isinstance(versions, dict) else None
        raise UserError(
            f"its weights do not fit the network that this version ({installed('lensing-nas')}) builds from "
            f"config.json; use the version that wrote them ({writer or 'unknown'})"
        )
    with torch.random.fork_rng(devices=[]):  # building draws initial weights, which are discarded
        return LensModel(_networks(config), config, views, trained_on)


def _of_format_1(config: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of a config.json of format 1 in today's format."""
    of_network = ("architecture", "normalisation", "task", "training", "seed", "pruning")
    member = {"times": 1, **{name: config[name] for name in of_network if name in config}}
    return {**config, "format": FORMAT, "views": 1, "calibration": {}, "members": [member]}
