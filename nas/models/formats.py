"""`nas.export`: write a model's folder in formats that others read: ONNX, torch.export, the layout of Hugging Face.

A graph takes images (N, C, S, S) as stored, at the model's size, in float32, and holds everything after that:
normalisation, all networks and views, their combination and the calibration.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.checks import path_of
from nas.errors import ModelFailed, UserError, mendable
from nas.files import whole_file
from nas.models import hub as layout
from nas.models.evaluation import own_source
from nas.models.export import LensModel, load_model
from nas.models.inference import predictions
from nas.words import count
from trainers import tasks
from trainers.data import Simulated, load
from trainers.errors import TrainingError
from trainers.regression import Regression

CHECKED = 200  # images on which a graph is compared with the model
BATCH = 50
TOLERANCE = 1e-3  # of a probability, or of a target's standard deviation over the training images
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "hub": ("huggingface_hub",)}

Answers = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Written:
    """A file or folder that `export` wrote, and how far its answers are from the model's."""

    path: Path
    difference: float | None = None
    """The largest, as a probability or in standard deviations of the target; None: it is no graph."""
    images: str = ""  # the images on which they were compared


@mendable
def export(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    onnx: bool = False,
    torch_export: bool = False,
    hub: bool = False,
    push: str | None = None,
    license: str | None = None,
) -> tuple[Written, ...]:
    """Write the model of `folder` in other formats, beside it or into the folder `out`.

    onnx: model.onnx. torch_export: model.pt2, for `torch.export.load`. Both take any number of images, and each is
    compared with the model on 200 images: of its own data if these can be had, random ones otherwise.
    hub: the folder hub/ in the layout of the Hugging Face Hub, which `load_model` reads too. push: the repository
    "owner/name" there to which hub/ is uploaded; it is created private. license: of the weights, as the Hub names it,
    such as "cc-by-4.0"; None: the card names none.

    UserError if nothing is asked for, a library is missing, the network cannot be written as a graph, or there is no
    token for an upload; ModelFailed if a graph gives other answers than the model. Its file is not kept then.
    """
    wanted = {"onnx": onnx, "torch_export": torch_export, "hub": hub or push is not None}
    if not any(wanted.values()):
        raise UserError("nothing to write; ask for onnx, torch_export or hub")
    if license is not None and not wanted["hub"]:
        raise UserError(f"license is {license!r}, which stands in the card of hub/; ask for hub too")
    for name, libraries in NEEDED.items():
        if wanted[name] and (missing := [library for library in libraries if find_spec(library) is None]):
            raise UserError(f"{name} needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    if push is not None:
        layout.check_token(push)
    model = load_model(folder).requires_grad_(False)  # a bias with a gradient would take another kernel of attention
    folder = path_of("folder", folder).resolve()
    if wanted["hub"]:
        layout.check_figures(model, folder)
    out = folder if out is None else path_of("out", out)
    if out.exists() and not out.is_dir():
        raise UserError(f"out is {out}, a file; expected a folder")
    out.mkdir(parents=True, exist_ok=True)
    written = _graphs(model, out, onnx, torch_export) if onnx or torch_export else []
    if wanted["hub"]:
        graph = out / "model.onnx" if onnx else None
        written.append(Written(layout.write(model, folder, out / "hub", graph, push, license)))
    if push is not None:
        layout.upload(out / "hub", push)
    return tuple(written)


class Graph(nn.Module):
    """The model with float32 answers: probabilities (N, classes), or values (N, targets) and their sigmas."""

    def __init__(self, model: LensModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        predicted = self.model(images).float()
        return predicted.tensor_split(2, 1) if self.model.task.with_sigma else (predicted,)


def _graphs(model: LensModel, out: Path, onnx: bool, torch_export: bool) -> list[Written]:
    images, which = images_of(model)
    expected = predictions(model, images, views=model.views, batch_size=BATCH)
    example = images[:2].float()
    try:
        with _quiet():
            program = torch.export.export(
                Graph(model).eval(), (example,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}}
            )
    except Exception as error:  # of many kinds, for what a network, perhaps a user's own, does that no graph can hold
        raise UserError(f"the network cannot be written as a graph: {_first_line(error)}") from error
    written = []
    if onnx:
        with whole_file(out / "model.onnx") as file:
            _write_onnx(program, example, model, file)
            difference = _compared(_by_onnxruntime(file), model, images, expected, "onnx")
        written.append(Written(out / "model.onnx", difference, which))
    if torch_export:
        with whole_file(out / "model.pt2") as file:
            with file.open("wb") as stream:
                torch.export.save(program, stream)
            with file.open("rb") as stream:
                module = torch.export.load(stream).module()
            difference = _compared(lambda x: torch.cat(module(x), 1), model, images, expected, "torch_export")
        written.append(Written(out / "model.pt2", difference, which))
    return written


def _write_onnx(program: torch.export.ExportedProgram, example: Tensor, model: LensModel, file: Path) -> None:
    names = ["probabilities"] if model.classes else ["values", "sigmas"][: 1 + model.task.with_sigma]
    try:
        with _quiet():
            graph = torch.onnx.export(
                program, (example,), dynamo=True, input_names=["images"], output_names=names, verbose=False
            )
    except Exception as error:  # as above
        raise UserError(f"the network cannot be written to ONNX: {_first_line(error)}") from error
    assert graph is not None
    graph.model.metadata_props.update(description(model))
    graph.save(file)


def description(model: LensModel) -> dict[str, str]:
    """What a graph's file says of its input and its answers."""
    task = model.task
    answers = list(task.quantities) if isinstance(task, Regression) else [tasks.quantity(task)]
    config = model.config
    steps = ["missing pixels filled", *([f"clipped at percentiles {model.reading.clip}"] if model.reading.clip else [])]
    steps += [model.reading.fit] if model.reading.fit else []
    shape = f"(N, {model.in_chans}, {model.image_size}, {model.image_size})"
    return {
        "images": f"{shape} float32, as stored, {', '.join(steps)}, resized ({config['resize']}); not normalised",
        "channels": json.dumps(list(model.channels)),
        **({"classes": json.dumps(list(model.classes))} if model.classes else {"quantities": json.dumps(answers)}),
        "networks": str(len(model.networks)),
        "views": str(model.views),
    }


def _by_onnxruntime(file: Path) -> Answers:
    import onnxruntime

    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda images: torch.cat([torch.from_numpy(a) for a in session.run(None, {"images": images.numpy()})], 1)


def _compared(answers: Answers, model: LensModel, images: Tensor, expected: Tensor, name: str) -> float:
    """The largest difference of answers to one image, and to the others in batches, from those that are expected."""
    each = [images[:1], *images[1:].split(BATCH)]
    found = torch.cat([answers(batch.float()) for batch in each]).double()
    unit = torch.tensor(model.task.sd).repeat(2)[: found.shape[1]] if isinstance(model.task, Regression) else 1.0
    difference = float(((found - expected) / unit).abs().max())
    if not difference <= TOLERANCE:
        raise ModelFailed(
            f"{name} answers otherwise than the model, by up to {difference:.2g} on {count(len(images), 'image')}: it "
            "was not written; please report it with the model"
        )
    return difference


def images_of(model: LensModel) -> tuple[Tensor, str]:
    """Images (N, C, S, S) to compare answers on, and words for them: of the model's data, or else random ones."""
    shape = (CHECKED, model.in_chans, model.image_size, model.image_size)
    source = own_source(model)
    if isinstance(source, Simulated):
        source = replace(source, images=min(source.images, CHECKED))
    try:
        data = None if source is None else load(source, progress=False)
    except (TrainingError, OSError):  # moved or removed since
        data = None
    if source is not None and data is not None:
        images = torch.cat([split.images[:CHECKED] for split in (data.test, data.val, data.train)])[:CHECKED]
        if tuple(images.shape[1:]) == shape[1:]:
            return images, f"{len(images)} of its own images"
    drawn = 100 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) ** 4
    fixed = model.members[0].normalisation.statistics
    return (drawn if fixed is None else fixed.offset + 0.1 * fixed.scale * drawn), f"{CHECKED} random images"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' warnings, which are about their own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return f"{type(cause).__name__}: {(str(cause).strip().splitlines() or [''])[0]}"
