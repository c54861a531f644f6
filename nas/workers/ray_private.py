"""What we use of Ray beyond its public interface, and its switches. tests/test_private.py notices a change of any.

Imported before Ray itself, which reads the switches when it is imported.
"""

from __future__ import annotations

import os
from typing import Any

SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a job without a GPU shall not hide the GPUs from others
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # csv, json and tensorboard files: 0.8 s a worker
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Ray's own snapshots are never read
}
for name, value in SWITCHES.items():
    os.environ.setdefault(name, value)


class NotPickled:
    """Ray pickles its searcher and scheduler into snapshots that nobody reads. Our state stays out of them."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


def lost_for_good(trial: Any) -> str | None:
    """Why a Ray trial whose process died is not started again; None where Ray starts it again."""
    if trial.status == trial.PENDING or not trial.should_recover():  # pending: it never got as far as to start
        return str(trial.get_error() or "its process died")
    return None
