"""The private parts of Ray that we use, and its switches. tests/test_private.py fails if one of them changes.

Import this before Ray, which reads the switches on import.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a job without a GPU must not hide the GPUs from others
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # csv, json and tensorboard files: 0.8 s a worker
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_worker_niceness": "0",  # Ray adds 15, so that beside any other work a search would starve
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a worker that dies is a line of ours, not a page of Ray's
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Ray's own snapshots are never read
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours stops the work
    "TUNE_FORCE_TRIAL_CLEANUP_S": "1",  # a worker in the middle of a long epoch is not waited for
}
for name, value in SWITCHES.items():
    os.environ.setdefault(name, value)


def quiet_raylet(ray: Any) -> None:
    """Keep Ray's news of dead workers off the terminal: the work says what becomes of their jobs."""
    ray._private.worker.print_to_stdstream = lambda data, ignore_prefix: None


def dead_server(ray: Any) -> str:
    """The name of a server of the Ray that this process has started which has died; empty if all are alive."""
    node = ray._private.worker._global_node
    for name in ("gcs_server", "raylet"):
        for started in node.all_processes.get(name, ()) if node is not None else ():
            if started.process.poll() is not None:
                return name
    return ""


class NotPickled:
    """Keeps our state out of the snapshots into which Ray pickles its searcher and scheduler: nobody reads them."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


def lost_for_good(trial: Any) -> bool:
    """Whether Ray does not restart a trial whose process died."""
    return bool(trial.status == trial.PENDING or not trial.should_recover())  # pending: it never started


def last_error(trial: Any) -> str:
    """The last line of what Ray wrote down when a trial's process died."""
    lines: list[str] = []
    if trial.error_file and Path(trial.error_file).exists():
        lines = Path(trial.error_file).read_text(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "its process died")
