"""Run Ray while it is needed: quietly on this machine, or on the cluster that RAY_ADDRESS names."""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from nas.errors import SearchFailed, UserError
from nas.files import scratch_folder
from nas.workers import ray_private  # before Ray
from nas.workers.resources import cluster
from nas.workers.stopping import Stop
from nas.workers.watching import watched

import ray  # isort: skip

__all__ = ["check_cluster", "ray", "ray_session"]
LONGEST = 16  # bytes of the path to our folders, so that Ray's sockets below have 107 at most (man 7 unix)
PATIENCE = 10.0  # seconds for a cluster to answer


@contextmanager
def ray_session(workers: int, stop: Stop) -> Iterator[None]:
    """Start a Ray of our own with a CPU per worker, or connect to the cluster, and stop it at the end.

    Our own Ray is reached from this machine only, by whoever knows its token, and keeps its files in a temporary folder
    that goes with it. If Ray already runs in this process, as in a notebook, use it as it is and leave it running.
    `stop` is asked if the Ray that was started here dies. UserError if the cluster does not answer; SearchFailed if Ray
    cannot start.
    """
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield
        return
    closing = False

    def dead() -> str:
        name = ray_private.dead_server(ray)
        return "" if closing else name  # what ends now ends because we end it

    with ExitStack() as stack:
        if cluster():
            check_cluster()
            _start(tries=1)
        else:
            folder = stack.enter_context(scratch_folder("nas-ray", _place()))
            stack.enter_context(ray_private.closed_to_others(ray))
            own = str(folder / "r")  # Ray opens it to everybody; the folder around it stays closed
            _start(tries=2, address="local", num_cpus=workers, include_dashboard=False, _temp_dir=own)
        with watched(dead, stop):
            try:
                yield
            finally:
                closing = True
                ray.shutdown()


def check_cluster() -> None:
    """Raise UserError unless somebody listens at the address in RAY_ADDRESS: Ray would wait for minutes."""
    if ray.is_initialized():
        return
    try:
        host, port = ray_private.address_of(ray, cluster())
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"RAY_ADDRESS is {cluster()}, but no Ray answers there ({error}); start the cluster, or unset it "
            "to use this machine only"
        ) from error


def _start(tries: int, **options: Any) -> None:
    """Start Ray, or say why it did not start each time."""
    ray_private.quiet_raylet(ray)
    reasons: list[str] = []
    while True:
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
            return
        except Exception as error:  # of any kind: its parts wait for each other, each with its own patience
            ray.shutdown()
            reasons.append(" ".join(str(error).split()) or type(error).__name__)
            if len(reasons) < tries:
                continue
            where = f"at RAY_ADDRESS={cluster()}" if cluster() else "on this machine; it may be short of memory or time"
            said = "; then ".join(dict.fromkeys(reasons))
            raise SearchFailed(f"Ray does not start {where} ({said}); run the same command again") from error


def _place() -> Path:
    """Where Ray's files go: in /tmp if the usual folder leaves no room for the names of sockets, which is said."""
    usual = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()).absolute()
    if len(os.fsencode(usual)) <= LONGEST:
        return usual
    print(f"Ray's files go to /tmp: {usual} is longer than the {LONGEST} bytes that sockets allow", file=sys.stderr)
    return Path("/tmp")
