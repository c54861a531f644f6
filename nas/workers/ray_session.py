"""Run Ray while it is needed: quietly on this machine, or on the cluster that RAY_ADDRESS names."""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.errors import SearchFailed, UserError
from nas.files import scratch_folder
from nas.workers import ray_private  # before Ray
from nas.workers.resources import Node, cluster
from nas.workers.stopping import Stop
from nas.workers.watching import watched

import ray  # isort: skip
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # isort: skip

__all__ = ["answers", "count_nodes", "here", "nodes", "own_node", "ray", "ray_session"]
LONGEST = 16  # bytes of the path to our folders, so that Ray's sockets below have 107 at most (man 7 unix)
PATIENCE = 10.0  # seconds for a cluster to answer


@contextmanager
def ray_session(cpus: int, stop: Stop) -> Iterator[None]:
    """Start a Ray of our own with so many CPUs, or connect to the cluster, and stop it at the end.

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
        name = contact() if contact else ray_private.dead_server(ray)
        return "" if closing else name  # what ends now ends because we end it

    contact = None
    with ExitStack() as stack:
        if cluster():
            check_cluster()
            _start(tries=1)
            contact = _Contact()
        else:
            folder = stack.enter_context(scratch_folder("nas-ray", _place()))
            stack.enter_context(ray_private.closed_to_others(ray))
            own = str(folder / "r")  # Ray opens it to everybody; the folder around it stays closed
            _start(tries=2, address="local", num_cpus=cpus, include_dashboard=False, _temp_dir=own)
        with watched(dead, stop):
            try:
                yield
            finally:
                closing = True
                ray.shutdown()


def count_nodes() -> Sequence[Node]:
    """The nodes of the cluster at RAY_ADDRESS, or of the Ray that runs in this process."""
    return nodes() if ray.is_initialized() else check_cluster()


def nodes() -> Sequence[Node]:
    """The living nodes of the cluster that this process is connected to."""
    leaving = ray_private.leaving_nodes(ray)
    return [
        replace(
            _node(node["Resources"]),
            name=node["NodeID"],
            place=(node["NodeManagerAddress"], node["NodeManagerPort"]),
            leaving=node["NodeID"] in leaving,
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def _node(given: Mapping[str, float]) -> Node:
    return Node(given.get("CPU", 0.0), given.get("GPU", 0.0))


def answers(place: tuple[str, int], seconds: float) -> bool:
    """Whether somebody listens at a host and port."""
    try:
        socket.create_connection(place, timeout=seconds).close()
    except OSError:
        return False
    return True


def own_node() -> str:
    """Ray's name of this machine's node."""
    return str(ray.get_runtime_context().get_node_id())


def here() -> Any:
    """Place an actor on this machine, whose end is the end of the work anyway."""
    return NodeAffinitySchedulingStrategy(own_node(), soft=False)


def check_cluster() -> Sequence[Node]:
    """The nodes of the cluster at RAY_ADDRESS. UserError if this process cannot work there.

    Ray itself would wait for minutes, or end the process.
    """
    said = f"RAY_ADDRESS is {cluster()}, but"
    try:
        host, port = ray_private.address_of(ray, cluster())
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"{said} no Ray answers there ({error}); start the cluster, or unset it to use this machine only"
        ) from error
    if "://" in cluster():
        raise UserError(f"{said} searches run on a node of the cluster; log in to one, and give HOST:6379 there")
    try:
        found = ray_private.nodes_at(ray, host, port, PATIENCE)
    except ray.exceptions.AuthenticationError as error:
        raise UserError(
            f"{said} its nodes ask for a token that this process does not have; set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH as on the nodes"
        ) from error
    if not any(_ours(address) for address, _ in found):
        raise UserError(
            f"{said} this machine is no node of that cluster; make it one: ray start --address={host}:{port} "
            "--num-cpus=0 (more, if it is to train)"
        )
    return [_node(given) for _, given in found]


class _Contact:
    """Names what of a cluster has not answered for a while. Ray itself would say nothing for a minute."""

    def __init__(self) -> None:
        (own,) = [node for node in nodes() if node.name == own_node()]
        self.places = {
            "the head of the cluster": ray_private.address_of(ray, cluster()),
            "the node of this machine": own.place,
        }
        self.heard = dict.fromkeys(self.places, time.monotonic())

    def __call__(self) -> str:
        for name, place in self.places.items():
            if answers(place, PATIENCE):
                self.heard[name] = time.monotonic()
            elif time.monotonic() > self.heard[name] + PATIENCE:
                return name
        return ""


def _ours(address: str) -> bool:
    """Whether this machine has the IP address."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as some:
        try:
            some.bind((address, 0))
        except OSError:
            return False
    return True


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
