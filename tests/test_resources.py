"""How this machine is divided among the workers."""

import math
import os

import pytest

from nas.workers.resources import divide
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
