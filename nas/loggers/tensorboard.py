"""Every epoch for TensorBoard: `pip install tensorboard`, then `tensorboard --logdir runs/hybrid/log`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from nas.errors import UserError

MOST_OPEN = 64  # files; a trial that is told of again later gets another file, which TensorBoard reads as one with it


class Logger:
    """A run of TensorBoard for each trial. It writes with tensorboardX, which comes with Ray Tune."""

    def __init__(self, folder: Path, study: str) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise UserError("the logger tensorboard needs tensorboardX: pip install tensorboardX") from None
        self._make, self._folder = SummaryWriter, folder
        self._files = 0
        self._open: dict[int, SummaryWriter] = {}  # by trial, the one told of last at the end

    def epoch(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        writer = self._open.pop(trial, None)
        if writer is None:  # the number keeps two files of one second apart
            self._files += 1
            writer = self._make(str(self._folder / f"trial-{trial}"), filename_suffix=f".{self._files}")
        self._open[trial] = writer
        for name, value in metrics.items():
            if math.isfinite(value):
                writer.add_scalar(name, value, epoch)
        if len(self._open) > MOST_OPEN:
            self._open.pop(next(iter(self._open))).close()

    def close(self) -> None:
        for writer in self._open.values():
            writer.close()
