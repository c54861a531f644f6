"""How this machine is divided among the workers."""

import math
import os
import time
from collections import Counter
from pathlib import Path

import pytest
from here import Queue
from hypothesis import given
from hypothesis import strategies as st
from ray.cluster_utils import Cluster

from nas.errors import UserError
from nas.workers import resources as resources_module
from nas.workers.pool import work_through
from nas.workers.resources import Node, Resources, divide, room, threads_of
from trainers.data import cores as cores_module
from trainers.data.cores import cores, quota


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000"}, math.inf),
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/job/step\n", {"cpu.max": "max 100000", "job/cpu.max": "200000 100000", "job/step/cpu.max": "max 1"}, 2.0),
        (
            "3:cpuset:/\n2:cpuacct,cpu:/t\n0::/\n",
            {"cpu/t/cpu.cfs_quota_us": "50000", "cpu/t/cpu.cfs_period_us": "25000"},
            2,
        ),
        ("2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        (None, {}, math.inf),
    ],
)
def test_a_container_s_share_of_the_processor_is_found(tmp_path, lines, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    if lines is not None:
        (tmp_path / "own").write_text(lines)
    assert quota(tmp_path, tmp_path / "own") == expected


def test_workers_and_their_threads_fill_the_granted_cores_and_no_more(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    allowed = len(os.sched_getaffinity(0))
    for granted, expected in ((math.inf, allowed), (1.9, 1), (0.2, 1)):
        monkeypatch.setattr(cores_module, "quota", lambda *paths, granted=granted: granted)
        assert cores() == expected
    monkeypatch.setattr("nas.workers.resources.cores", lambda: 8)
    assert [(divide(n).workers, divide(n).threads) for n in (None, 2, 3, 16)] == [(8, 1), (2, 4), (3, 2), (16, 1)]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert divide(2).threads == 1


def placed_one_by_one(nodes, threads, share):
    """The workers that a scheduler places, one after the other, each on the first node with CPUs and a GPU for it."""
    cpus = [int(node.cpus) for node in nodes]
    gpus = [[100] * int(node.gpus) for node in nodes]  # hundredths left
    placed = 0
    for at in range(len(nodes)):
        while cpus[at] >= threads:
            if share:
                free = [k for k, left in enumerate(gpus[at]) if left >= round(100 * share)]
                if not free:
                    break
                gpus[at][free[0]] -= round(100 * share)
            cpus[at] -= threads
            placed += 1
    return placed


NODES = st.lists(st.builds(Node, st.integers(0, 40), st.integers(0, 5)), min_size=1, max_size=4)
SHARES = st.sampled_from([0.0, 0.05, 0.2, 0.25, 0.3, 0.34, 0.5, 0.51, 1.0])


@given(NODES, st.integers(1, 9), SHARES)
def test_as_many_workers_are_counted_as_a_scheduler_places(nodes, threads, share):
    assert room(nodes, threads, share) == placed_one_by_one(nodes, threads, share)


@given(NODES, st.integers(1, 50), SHARES)
def test_workers_get_the_most_threads_with_which_all_are_placed(nodes, workers, share):
    able = [t for t in range(1, 41) if placed_one_by_one(nodes, t, share) >= workers]
    assert threads_of(nodes, workers, share) == max(able, default=1)


CLUSTER = [Node(8), Node(32, 4), Node(16, 2)]  # the first is a login node


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((None, None), Resources("cuda", 6, 8, 1.0, nodes=2, grows=True)),
        ((None, 0.3), Resources("cuda", 18, 2, 0.3, nodes=2, grows=True)),
        ((None, 0), Resources("cpu", 56, 1, 0.0, nodes=3, grows=True)),
        ((3, 0.5), Resources("cuda", 3, 16, 0.5, nodes=2)),
        ((20, 0.3), Resources("cuda", 20, 1, 0.3, nodes=2, fit=18)),
    ],
)
def test_a_cluster_is_counted_not_the_machine_of_the_driver(monkeypatch, asked, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(resources_module, "attached", lambda: True)
    monkeypatch.setattr(resources_module, "_cluster_nodes", lambda: CLUSTER)
    assert divide(*asked) == expected
    assert divide(1, 0, here=True).nodes == 1


@pytest.mark.parametrize(
    ("nodes", "share", "said"),
    [
        (CLUSTER, 2, "gpus-per-trial is 2; expected at most 1, since a network trains on one GPU"),
        ([Node(8)], 0.5, "gpus-per-trial is 0.5; expected 0, since the cluster has no GPU"),
        ([Node(0, 4)], None, "no node of the cluster has 1 CPUs and 1 GPU"),
        ([Node(0)], None, "no node of the cluster has 1 CPUs for a worker"),
    ],
)
def test_what_a_cluster_cannot_place_is_refused(monkeypatch, nodes, share, said):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(resources_module, "attached", lambda: True)
    monkeypatch.setattr(resources_module, "_cluster_nodes", lambda: nodes)
    with pytest.raises(UserError, match=said):
        divide(None, share)


class Noted(Queue):
    """Work that keeps what its jobs yield."""

    def __init__(self, jobs):
        super().__init__(jobs)
        self.seen = []

    def report(self, job, item):
        self.seen.append(item)
        return True

    def end(self, job):
        self.running -= 1


@pytest.fixture
def two_nodes(monkeypatch):
    """A Ray cluster with three GPUs that are not there: one beside three CPUs, two beside two."""
    for name, value in {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}.items():
        monkeypatch.setenv(name, value)
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parent)]))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, "num_gpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=2, num_gpus=2)
        cluster.wait_for_nodes()
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_ray_places_as_many_workers_as_are_counted_and_each_sees_its_gpu(two_nodes, tmp_path):
    """They all start before one has ended, on GPUs that hold two each. Retrainings run in the same workers."""
    resources = divide(gpus_per_trial=0.4)
    assert resources == Resources("cuda", 4, 1, 0.4, nodes=2, grows=True)

    def run(job):
        (tmp_path / f"begun-{job}").touch()
        end = time.monotonic() + 120
        while len(list(tmp_path.glob("begun-*"))) < 4 and time.monotonic() < end:
            time.sleep(0.05)
        import ray

        yield ray.get_runtime_context().get_node_id(), os.environ["CUDA_VISIBLE_DEVICES"], os.getpid()

    work = Noted(range(4))
    work_through(work, run, resources)
    nodes, gpus, processes = zip(*work.seen, strict=True)
    assert len(set(processes)) == 4
    assert sorted(Counter(nodes).values()) == [2, 2]
    assert all(len(gpu.split(",")) == 1 for gpu in gpus)
    assert max(Counter(zip(nodes, gpus, strict=True)).values()) <= 2
