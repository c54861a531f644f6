"""Every path of a run, `runs/<name>/`, and of its retraining on other images, in a folder below."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nas.checks import path_of
from nas.errors import UserError

LONGEST = 200  # bytes of a name: a folder's may have 255, and some files beside it add to it


@dataclass(frozen=True)
class RunFolder:
    path: Path
    home: Path | None = None  # of a folder below a run: that run's

    def below(self, name: str) -> RunFolder:
        """The folder for what this run's configurations give on other images. It has no study of its own."""
        return RunFolder(self.path / name, home=self.path)

    @property
    def database(self) -> Path:
        """The study, the only record that a search needs; or the file that names the server on which it is."""
        return self.address if self.address.exists() else self.path / "study.db"

    @property
    def address(self) -> Path:
        """Names the server of a study that is not in this folder."""
        return self.path / "study.url"

    @property
    def lock(self) -> Path:
        """The lock of the search that runs here."""
        return self.path / "lock"

    @property
    def checkpoints(self) -> Path:
        """The states of paused trials; empty once the search is done."""
        return self.path / "checkpoints"

    @property
    def artifacts(self) -> Path:
        """Pictures of trials for optuna-dashboard."""
        return self.path / "artifacts"

    @property
    def paper(self) -> Path:
        """Tables and figures for a paper."""
        return self.path / "paper"

    @property
    def reproduce(self) -> Path:
        """With what the search was made."""
        return self.path / "reproduce.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        """What a logger writes (`nas/loggers/`)."""
        return self.path / "log"

    @property
    def notebook(self) -> Path:
        return self.path / "notebook.ipynb"

    @property
    def retraining_lock(self) -> Path:
        return self.path / "retrain.lock"

    @property
    def retrained(self) -> Path:
        """The result of each retraining: weights, predictions for the test images, a record."""
        return self.path / "retrained"

    @property
    def baselines(self) -> Path:
        """The results of baselines, for all runs of this folder over the same images."""
        path = self.home or self.path
        return (path if path.name else path.absolute()).parent / ".baselines"

    @property
    def retraining_record(self) -> Path:
        return self.path / "retrain.json"

    @property
    def retraining_report(self) -> Path:
        return self.path / "retrain.html"

    @property
    def models(self) -> Path:
        """Exported models: trial-<number>/ of all its seeds, trial-<number>-seed-<seed>/ of one, ensemble/ of several
        trials, and best/, a link to that of the best trial."""
        return self.path / "models"

    @property
    def best_model(self) -> Path:
        return self.models / "best"

    def model(self, trial: int) -> Path:
        return self.models / f"trial-{trial}"

    def options(self, study: str) -> list[str]:
        """The options with which a command finds this run of `study` from the current folder."""
        words, path = ["--study", study], self.path if self.path.name else self.path.absolute()
        if path.absolute().parent != Path("runs").absolute():
            words += ["--runs", str(path.parent)]
        return words if path.name == study else [*words, "--name", path.name]


def run_folder(runs: str | Path, name: str) -> RunFolder:
    """The run of this name. UserError if the name is not that of a folder in `runs`."""
    folder = path_of("runs", runs)
    if not isinstance(name, str):
        raise UserError(f"name is {name!r}; expected text")
    if name in ("", ".", "..") or "/" in name or not name.isprintable() or len(os.fsencode(name)) > LONGEST:
        raise UserError(f"name is {name[:LONGEST]!r}; expected the name of one folder, without / and not too long")
    return RunFolder(folder / name)
