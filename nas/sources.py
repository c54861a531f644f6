"""The data source that a caller's `data` stands for, in a search as in an evaluation."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.errors import UserError
from trainers.data import Arrays, Folder, Function, Simulated, Source, from_arrays

FOLDER_IMAGE_SIZE = 64  # pixels a side to which a folder's images are resized by default
READ = "says how image files are read"
FOLDER_ONLY = {
    "skip_bad": "discards unreadable files", "group": "finds objects in the names of files", "hdu": READ, "clip": READ,
    "key": READ, "classes": "names the numbers of classes", "fit": READ,
}  # fmt: skip
"""The options of folders, and what each does."""
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # my_package.my_images:load


def source_of(
    data: Any,
    image_size: int | None = None,
    images: int | None = None,
    data_seed: int | None = None,
    **options: Any,
) -> Source:
    """The data source that `data` means; `image_size`, `images`, `data_seed` and `options` are its fields.

    `options` are `split` and those in FOLDER_ONLY; None is the source's own value. `data` is a source; a folder, or a
    file of stacked arrays; "my_package.my_images:load", a function; or what such a function may return: images and
    labels, a torch Dataset, or either by split.
    """
    if isinstance(data, str | Path) and FUNCTION.fullmatch(str(data)) and not Path(data).exists():
        data = Function(str(data))
    elif isinstance(data, str | Path):
        if not _exists(str(data)):
            raise UserError(
                f"data folder {str(data)!r} does not exist; expected a folder of images, a file of stacked arrays, or "
                "my_package.my_images:load"
            )
        data = Folder(str(data), image_size=FOLDER_IMAGE_SIZE)
    if images is not None and not isinstance(data, Simulated):
        raise UserError(f"images counts simulated images, not those of {type(data).__name__}; omit it")
    if data_seed is not None and not isinstance(data, Simulated):
        raise UserError(f"data_seed draws simulated images anew, not those of {type(data).__name__}; omit it")
    options = {name: value for name, value in options.items() if value is not None and value is not False}
    for name, what in FOLDER_ONLY.items():
        if name in options and not isinstance(data, Folder):
            raise UserError(f"{name} {what}, but the data is no folder of images; omit it")
    if "split" in options and isinstance(data, Simulated | Arrays):
        raise UserError(f"split divides images of your own anew, not those of {type(data).__name__}; omit it")
    if not isinstance(data, Simulated | Folder | Function | Arrays):
        return from_arrays(data, image_size=image_size, **options)
    changes: dict[str, Any] = {"image_size": image_size, "images": images, "seed": data_seed}
    return replace(data, **{name: value for name, value in changes.items() if value is not None}, **options)


def _exists(path: str) -> bool:
    """Whether there is something at `path`; not if it is empty, too long, or names an unknown user."""
    try:
        return bool(path) and Path(path).expanduser().exists()
    except (OSError, RuntimeError):
        return False
