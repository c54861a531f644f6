"""`python -m nas.predict --model FOLDER images...`: what an exported network says of images. Needs no study."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from nas.cli import Parser, run_command
from nas.export import LensModel, load_model
from trainers.data.folder import UNREADABLE
from trainers.data.image_file import EXTENSIONS, read_image, resize
from trainers.evaluate import outputs

BATCH = 256


@dataclass(frozen=True)
class Prediction:
    classes: tuple[str, ...]
    probabilities: Tensor  # (N, len(classes)) float64

    @property
    def labels(self) -> list[str]:
        """The most probable class of each image."""
        return [self.classes[k] for k in self.probabilities.argmax(-1)]


def predict(model: LensModel, images: Tensor | np.ndarray, *, batch_size: int = BATCH) -> Prediction:
    """Probabilities for images (N, C, H, W) as stored, of any real type and size, prepared here as in training.

    ValueError where they are not square, have another number of channels than the model, or hold NaN or infinities.
    """
    pixels = torch.as_tensor(images)
    if pixels.ndim != 4:
        raise ValueError(f"images have shape {tuple(pixels.shape)}; expected (N, C, H, W)")
    if len(pixels) == 0:
        return Prediction(model.classes, torch.empty(0, len(model.classes), dtype=torch.float64))
    check(model, tuple(pixels.shape[1:]), "the images")
    if not torch.isfinite(pixels).all():
        raise ValueError("the images hold NaN or infinite values")
    if pixels.shape[-1] != model.image_size:
        pixels = torch.from_numpy(np.stack([resize(image, model.image_size) for image in pixels.cpu().numpy()]))
    raw = outputs(
        model, pixels, normalisation=model.normalisation, device=next(model.parameters()).device, batch_size=batch_size
    )
    return Prediction(model.classes, model.task.predict(raw))


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


def predict_files(model: LensModel, files: Iterable[Path]) -> Iterator[tuple[Path, str, list[float]]]:
    """(file, class, probabilities) of each file, some hundred in memory at once. ValueError names a file at fault."""
    remaining = iter(files)
    while batch := list(islice(remaining, BATCH)):
        # Integers stay exact in float64, so images of several types may share a batch; normalising ends in float32.
        said = predict(model, np.stack([_prepared(model, file) for file in batch]))
        yield from zip(batch, said.labels, said.probabilities.tolist(), strict=True)


def _prepared(model: LensModel, file: Path) -> np.ndarray:
    try:
        image, _ = read_image(file)
    except UNREADABLE as error:
        raise ValueError(f"{file} cannot be read as an image: {error}") from error
    check(model, image.shape, str(file))
    return image if image.shape[-1] == model.image_size else resize(image, model.image_size)


def command(argv: list[str]) -> int:
    p = Parser(prog="python -m nas.predict", description="Classify images with an exported model.")
    p.add_argument("--model", type=Path, required=True, help="folder of a model, such as runs/hybrid/models/best")
    p.add_argument("images", type=Path, nargs="+", help=f"files ({', '.join(EXTENSIONS)}), or folders of them")
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = p.parse_args(argv)
    model = load_model(args.model, device="cuda" if torch.cuda.is_available() else "cpu")
    said = list(predict_files(model, image_files(args.images)))
    if args.json:
        rows = [
            {"file": str(file), "class": label, "probabilities": dict(zip(model.classes, probabilities, strict=True))}
            for file, label, probabilities in said
        ]
        print(json.dumps({"model": str(args.model), "classes": model.classes, "predictions": rows}, indent=2))
        return 0
    table = Table("file", "class", *model.classes)
    for column in table.columns[2:]:
        column.justify = "right"
    for file, label, probabilities in said:
        table.add_row(str(file), label, *(f"{probability:.3f}" for probability in probabilities))
    console = Console()
    (console if console.is_terminal else Console(width=10_000)).print(table)  # no file name is cut in a pipe
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
