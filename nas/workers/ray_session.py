"""Run Ray while it is needed: quietly on this machine, or on the cluster that RAY_ADDRESS names."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nas.workers import ray_private  # before Ray
from nas.workers.stopping import Stop
from nas.workers.watching import watched

import ray  # isort: skip

__all__ = ["ray", "ray_session"]


@contextmanager
def ray_session(workers: int, stop: Stop) -> Iterator[None]:
    """Start Ray with a CPU per worker, or connect to the cluster, and stop it at the end.

    If Ray already runs in this process, as in a notebook, use it as it is and leave it running. `stop` is asked if the
    Ray that was started here dies.
    """
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield
        return
    cluster = bool(os.environ.get("RAY_ADDRESS"))
    local: dict[str, Any] = {} if cluster else {"num_cpus": workers, "include_dashboard": False}
    ray_private.quiet_raylet(ray)
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **local)
    closing = False

    def dead() -> str:
        name = ray_private.dead_server(ray)
        return "" if closing else name  # what ends now ends because we end it

    with watched(dead, stop):
        try:
            yield
        finally:
            closing = True
            ray.shutdown()
