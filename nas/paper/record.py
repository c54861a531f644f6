"""`reproduce.json`: with what a search was made, so that it can be made again."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import torch

from nas.files import read_json, write_json
from nas.reading import IMAGES, SHAPE
from nas.searching.server import shown
from nas.versions import versions

KERNEL = "ipykernel_launcher.py"  # what runs a notebook's cells
SETTLED = ("commit", "changed", "versions", "hardware", "command")


def write(path: Path, study: optuna.Study, resources: str) -> None:
    """Record the study, its data and seeds, and this start of its search, unless the last was the same."""
    before = read_json(path)["starts"] if path.is_file() else []
    start = {"began": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", **_start(resources)}
    if before and all(before[-1].get(name) == start[name] for name in SETTLED):
        start = before.pop()
    known = study.user_attrs
    record = {
        "study": study.study_name, "spec": known["spec"], "seed": known["spec"].get("seed"),
        "images": known.get(IMAGES), "shape": known.get(SHAPE), "starts": [*before, start],
    }  # fmt: skip
    write_json(path, record)


def _start(resources: str) -> dict[str, Any]:
    commit, changed = _commit()
    return {
        "command": command(),
        "commit": commit,
        "changed": changed,
        "versions": versions(),
        "hardware": _hardware(resources),
    }


def command(function: str = "search") -> str:
    """The command that started this process, as it is typed: `python -m nas.run ...` or `nas run ...`.

    In a notebook, it is the call of our `function`.
    """
    if Path(sys.argv[0]).name == KERNEL:
        return f"nas.{function}(...)  # in a notebook"
    module = getattr(sys.modules["__main__"], "__spec__", None)
    program = [Path(sys.argv[0]).name]
    if module is not None and module.origin == sys.argv[0]:
        program = ["python", "-m", module.name.removesuffix(".__main__")]
    return shlex.join([*program, *map(shown, sys.argv[1:])])


def _hardware(resources: str) -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return {"cpu": _cpu(), "cores": os.cpu_count(), "gpus": gpus, "system": platform.platform(), "search": resources}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.is_file()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> tuple[str | None, bool | None]:
    """The commit of this code, and whether files have changed since; None outside a clone."""
    try:
        if Path(_git("rev-parse", "--show-toplevel")) != Path(__file__).resolve().parents[2]:
            return None, None  # installed, below a clone of something else
        commit, changes = (_git(*words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain")))
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, bool(changes)


def _git(*words: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def latest(path: Path) -> Mapping[str, Any] | None:
    """The last start of the search; None if an earlier version made the study."""
    if not path.is_file():
        return None
    start: Mapping[str, Any] = read_json(path)["starts"][-1]
    return start
