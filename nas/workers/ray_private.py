"""The private parts of Ray that we use, and its switches. tests/test_private.py fails if one of them changes.

Import this before Ray, which reads the switches on import.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a job without a GPU must not hide the GPUs from others
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # csv, json and tensorboard files: 0.8 s a worker
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_worker_niceness": "0",  # Ray adds 15, so that beside any other work a search would starve
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a worker that dies is a line of ours, not a page of Ray's
    "TUNE_MAX_PENDING_TRIALS_PG": "4096",  # workers start together; with a searcher of one's own, one after the other
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Ray's own snapshots are never read
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours stops the work
    "TUNE_FORCE_TRIAL_CLEANUP_S": "1",  # a worker in the middle of a long epoch is not waited for
}
ALIVE = 0  # the state of a node, by Ray's own number

for name, value in SWITCHES.items():
    os.environ.setdefault(name, value)


def quiet_raylet(ray: Any) -> None:
    """Keep Ray's news of dead workers off the terminal: the work says what becomes of their jobs."""
    ray._private.worker.print_to_stdstream = lambda data, ignore_prefix: None


@contextmanager
def closed_to_others(ray: Any) -> Iterator[None]:
    """Let a Ray that is started in this block listen on the loopback interface only, and ask for a token of its own.

    By default it listens on every interface, and its token is in a file of the home folder that others may read. What
    RAY_AUTH_MODE says about tokens holds.
    """
    kept, token = ray._private.ray_constants.ENABLE_RAY_CLUSTER, "RAY_AUTH_MODE" not in os.environ
    before = os.environ.get("RAY_AUTH_TOKEN")
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False  # its own address becomes 127.0.0.1
    if token:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    _read_token(ray)
    try:
        yield
    finally:
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = kept
        if token:
            del os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]
            if before is not None:
                os.environ["RAY_AUTH_TOKEN"] = before
            _read_token(ray)


def _read_token(ray: Any) -> None:
    """Let this process's Ray read the environment again."""
    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


def address_of(ray: Any, address: str) -> tuple[str, int]:
    """The host and port that an address of Ray means. ConnectionError or ValueError if it means none."""
    if "://" in address:
        parts = urlsplit(address)
        return parts.hostname or "", parts.port or 10001
    host, _, port = ray._private.services.canonicalize_bootstrap_address(address).rpartition(":")
    return host.strip("[]"), int(port)


def nodes_at(ray: Any, host: str, port: int, seconds: float) -> list[tuple[str, dict[str, float]]]:
    """The IP address of each living node of a cluster, and what it gives to Ray. This process need not be connected.

    AuthenticationError if the cluster asks for another token than the environment has now: in a notebook it may have
    had another one when Ray was first used.
    """
    _read_token(ray)
    ray._raylet.AuthenticationTokenLoader.instance().has_token()  # raises, where the client would end the process
    client = ray._raylet.GcsClient(address=f"{host}:{port}")
    found = client.get_all_node_info(timeout=seconds).values()
    return [(node.node_manager_address, dict(node.resources_total)) for node in found if node.state == ALIVE]


def leaving_nodes(ray: Any) -> set[str]:
    """The nodes that have announced their end (`ray drain-node`, KubeRay, a cloud's notice), by Ray's name."""
    return set(ray._private.state.state.get_draining_nodes())


def dead_server(ray: Any) -> str:
    """Which server of the Ray that this process started has died, in words; empty if none has."""
    node = ray._private.worker._global_node
    for name in ("gcs_server", "raylet"):
        for started in node.all_processes.get(name, ()) if node is not None else ():
            if started.process.poll() is not None:
                return f"its {name} process"
    return ""


class NotPickled:
    """Keeps our state out of the snapshots into which Ray pickles its searcher and scheduler: nobody reads them."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


def lost_for_good(trial: Any) -> bool:
    """Whether Ray does not restart a trial whose process died."""
    return bool(trial.status == trial.PENDING or not trial.should_recover())  # pending: it never started


def short_of_memory(trial: Any) -> bool:
    """Whether Ray has ended a trial's process because its machine ran low on memory, before the kernel would."""
    last = "\n".join(_error_lines(trial)).rpartition("Failure # ")[2]  # the file has all deaths of the worker
    return "OutOfMemoryError" in last or "low on memory" in last


def last_error(trial: Any) -> str:
    """The last line of what Ray wrote down when a trial's process died."""
    return next((line.strip() for line in reversed(_error_lines(trial)) if line.strip()), "its process died")


def _error_lines(trial: Any) -> list[str]:
    if not trial.error_file or not Path(trial.error_file).exists():
        return []
    return Path(trial.error_file).read_text(errors="replace").splitlines()
