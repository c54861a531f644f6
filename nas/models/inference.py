"""`python -m nas.predict --model FOLDER images...`: what an exported network says of images. Needs no study."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from nas.commands.cli import Parser, run_command
from nas.models.export import LensModel, load_model
from trainers import tasks
from trainers.data.folder.convert import UNREADABLE
from trainers.data.folder.image_file import EXTENSIONS, read_image, resize
from trainers.evaluate import outputs

BATCH = 256


@dataclass(frozen=True)
class Prediction:
    """Of classes."""

    classes: tuple[str, ...]
    probabilities: Tensor  # (N, len(classes)) float64

    @property
    def labels(self) -> list[str]:
        """The most probable class of each image."""
        return [self.classes[k] for k in self.probabilities.argmax(-1)]


@dataclass(frozen=True)
class Measurement:
    """Of a number."""

    quantity: str
    values: Tensor  # (N,) float64
    sigma: Tensor | None  # (N,) float64, where the network gives standard deviations


def predict(model: LensModel, images: Tensor | np.ndarray, *, batch_size: int = BATCH) -> Prediction | Measurement:
    """What the model says of images (N, C, H, W) as stored, of any real type and size, prepared here as in training.

    Probabilities of classes, or values in the unit that the model was trained on. ValueError where the images are not
    square, have another number of channels than the model, or hold NaN or infinities.
    """
    pixels = torch.as_tensor(images)
    if pixels.ndim != 4:
        raise ValueError(f"images have shape {tuple(pixels.shape)}; expected (N, C, H, W)")
    if len(pixels) == 0:
        return _said(model, torch.empty(0, model.task.num_outputs))
    check(model, tuple(pixels.shape[1:]), "the images")
    if not torch.isfinite(pixels).all():
        raise ValueError("the images hold NaN or infinite values")
    if pixels.shape[-1] != model.image_size:
        pixels = torch.from_numpy(np.stack([resize(image, model.image_size) for image in pixels.cpu().numpy()]))
    device = next(model.parameters()).device
    return _said(model, outputs(model, pixels, normalisation=model.normalisation, device=device, batch_size=batch_size))


def _said(model: LensModel, raw: Tensor) -> Prediction | Measurement:
    predicted = model.task.predict(raw)
    if model.task.classifies:
        return Prediction(model.classes, predicted)
    sigma = predicted[:, 1] if model.task.with_sigma else None
    return Measurement(tasks.quantity(model.task), predicted[:, 0], sigma)


def check(model: LensModel, shape: tuple[int, ...], what: str) -> None:
    """ValueError unless the model takes images of shape (C, H, W)."""
    chans, height, width = shape
    if chans != model.in_chans:
        raise ValueError(f"{what}: {chans} channels, but the model was trained on {model.in_chans}")
    if height != width:
        raise ValueError(f"{what}: {width}x{height} pixels; expected square images")


def image_files(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and the images below the folders among them, sorted. ValueError where there is none."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(f for f in path.rglob("*") if f.suffix.lower() in EXTENSIONS and f.is_file())
            if not found:
                raise ValueError(f"{path} holds no images; expected files ending in {', '.join(EXTENSIONS)}")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise ValueError(f"{path} does not exist")
    return files


def predict_files(model: LensModel, files: Iterable[Path]) -> Iterator[tuple[list[Path], Prediction | Measurement]]:
    """Some hundred files at a time, and what the model says of them. ValueError names a file at fault."""
    remaining = iter(files)
    while batch := list(islice(remaining, BATCH)):
        # Integers stay exact in float64, so images of several types may share a batch; normalising ends in float32.
        yield batch, predict(model, np.stack([_prepared(model, file) for file in batch]))


def rows(said: Prediction | Measurement) -> list[dict[str, Any]]:
    """One JSON object for each image."""
    if isinstance(said, Prediction):
        return [
            {"class": label, "probabilities": dict(zip(said.classes, probabilities, strict=True))}
            for label, probabilities in zip(said.labels, said.probabilities.tolist(), strict=True)
        ]
    if said.sigma is None:
        return [{"value": value} for value in said.values.tolist()]
    both = zip(said.values.tolist(), said.sigma.tolist(), strict=True)
    return [{"value": value, "sigma": sigma} for value, sigma in both]


def _prepared(model: LensModel, file: Path) -> np.ndarray:
    try:
        image, _ = read_image(file)
    except UNREADABLE as error:
        raise ValueError(f"{file} cannot be read as an image: {error}") from error
    check(model, image.shape, str(file))
    return image if image.shape[-1] == model.image_size else resize(image, model.image_size)


def command(argv: list[str]) -> int:
    p = Parser(prog="python -m nas.predict", description="What an exported model says of images.")
    p.add_argument("--model", type=Path, required=True, help="folder of a model, such as runs/hybrid/models/best")
    p.add_argument("images", type=Path, nargs="+", help=f"files ({', '.join(EXTENSIONS)}), or folders of them")
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = p.parse_args(argv)
    model = load_model(args.model, device="cuda" if torch.cuda.is_available() else "cpu")
    files = image_files(args.images)
    said = [
        {"file": str(file), **row}
        for batch, predicted in predict_files(model, files)
        for file, row in zip(batch, rows(predicted), strict=True)
    ]
    if args.json:
        of = {"classes": model.classes} if model.classes else {"quantity": tasks.quantity(model.task)}
        print(json.dumps({"model": str(args.model), **of, "predictions": said}, indent=2))
        return 0
    if model.classes:
        table = Table("file", "class", *model.classes)
    else:
        table = Table("file", tasks.quantity(model.task), *["sigma"] * model.task.with_sigma)
    for column in table.columns[2 if model.classes else 1 :]:
        column.justify = "right"
    for row in said:
        if model.classes:
            table.add_row(row["file"], row["class"], *(f"{p:.3f}" for p in row["probabilities"].values()))
        else:
            table.add_row(row["file"], *(f"{row[key]:.4f}" for key in ("value", "sigma") if key in row))
    console = Console()
    (console if console.is_terminal else Console(width=10_000)).print(table)  # no file name is cut in a pipe
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
