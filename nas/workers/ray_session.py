"""Ray while it is needed: started quietly on this machine, or the cluster that RAY_ADDRESS names."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nas.workers import ray_private  # noqa: F401  before Ray

import ray  # isort: skip

__all__ = ["ray", "ray_session"]


@contextmanager
def ray_session(workers: int) -> Iterator[None]:
    """Have Ray running, with a CPU for each worker where we start it; what we started, we stop.

    Ray that runs already in this process, as in a notebook, is used as it is.
    """
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield
        return
    cluster = bool(os.environ.get("RAY_ADDRESS"))
    local: dict[str, Any] = {} if cluster else {"num_cpus": workers, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **local)
    try:
        yield
    finally:
        ray.shutdown()
