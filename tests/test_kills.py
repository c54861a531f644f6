"""One study, and a driver that is killed fifty times: real processes, real signals, exact counts."""

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nas

TRIALS, RUNGS = 250, (2, 6, 18)
LEFT = {"artifacts", "checkpoints", "lock", "report.html", "reproduce.json", "study.db"}
SQLITE = {"study.db-shm", "study.db-wal"}
SCRIPT = f"""
import json, os, signal, sys, time, zlib
from pathlib import Path
import torch
from here import work_through_here
import nas
import nas.report.page
from nas.searching import preparation
from nas.searching.jobs import Admission, Epoch
from nas.searching.work import Search
from nas.workers import checkpoints, pool, trial
from search_space import ToySpace
from studies import StudySpec
from trainers.data import Simulated, limit, limits, load

folder, how = sys.argv[1:]
limits.IMAGES = 6
torch.set_num_threads(1)
STUDY = StudySpec(
    "toy", "?", space=ToySpace(), data=Simulated(images=60, image_size=16), epochs={RUNGS[-1]}, min_epochs={RUNGS[0]},
    sampler="random", first=(), baselines=(), trials={TRIALS},
)

def run_trial(job, problem):
    skill = zlib.crc32(json.dumps(job.config, sort_keys=True).encode()) / 2**32
    for epoch in range(job.start + 1, job.stop + 1):
        time.sleep(0.002)
        saved = epoch == job.stop and epoch < {RUNGS[-1]}
        if saved:
            checkpoints.save(Path(problem.checkpoints), job.trial, {{"epoch": epoch}})
        yield Epoch(epoch, {{"auc": skill * epoch / (epoch + 3), "seconds": 0.5}}, saved)

def report(self, job, item, reported=Search.report):
    goes_on = reported(self, job, item)
    line = json.dumps([os.getpid(), job.trial, item.number, item.metrics["auc"]]) + "\\n"
    os.write(log, line.encode())  # what has been reported when the process is killed
    return goes_on

def search():
    nas.search(STUDY, runs=folder, workers=2, quiet=True)

trial.run_trial, Search.report = run_trial, report
preparation.admission = lambda spec, data: lambda config: Admission()  # counting the cost of networks takes most time
log = os.open(folder + "/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
if how == "ray":
    search()
    sys.exit()
pool.work_through = work_through_here
ready = load(STUDY.data, progress=False), limit(STUDY.data, progress=False)  # into the cache
for _ in sys.stdin:
    child = os.fork()
    if not child:
        search()
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def driver(folder, how):
    """A process that searches with Ray, or one that for each line has a copy of itself search without Ray."""
    tests = Path(__file__).resolve().parent
    path = os.pathsep.join([str(tests.parent), str(tests)])
    env = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "NAS_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), how],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def reported(folder):
    """Every epoch that a driver has reported: process, trial, epoch, value. A line may be cut off by the kill."""
    return [json.loads(line) for line in (folder / "log").read_text().splitlines() if line.endswith("]")]


def check_study(folder):
    """Whatever has been reported is in the study, and its trials are numbered without gaps."""
    if not reported(folder):
        return
    query = "SELECT number, step, intermediate_value FROM trials JOIN trial_intermediate_values USING (trial_id)"
    with contextlib.closing(sqlite3.connect(f"file:{folder / 'toy' / 'study.db'}?mode=ro", uri=True)) as connection:
        kept = {(number, step): value for number, step, value in connection.execute(query)}
        numbers = sorted(number for (number,) in connection.execute("SELECT number FROM trials"))
    assert {(trial, epoch): value for _, trial, epoch, value in reported(folder)}.items() <= kept.items()
    assert numbers == list(range(len(numbers)))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_driver_killed_at_fifty_moments_loses_nothing_and_does_nothing_twice(tmp_path):
    draw = random.Random(0)

    def lines():
        return (tmp_path / "log").read_bytes().count(b"\n")

    def kill(pid, start):
        """Kill the process while it starts, which takes `start` seconds, or somewhere among its next 20 reports."""
        if draw.random() < 0.3:
            time.sleep(draw.uniform(0.0, start))
        else:
            wanted, end = lines() + draw.randrange(20), time.monotonic() + 300  # a busy machine starts Ray slowly
            while lines() < wanted:
                assert time.monotonic() < end
                time.sleep(0.005)
            time.sleep(draw.uniform(0.0, 0.02))
        os.kill(pid, signal.SIGKILL)

    parent = driver(tmp_path, "here")
    for _ in range(45):
        print(file=parent.stdin, flush=True)
        kill(int(parent.stdout.readline()), start=1.0)
        assert int(parent.stdout.readline()) == signal.SIGKILL, "it ended before it was killed"
        check_study(tmp_path)
    parent.stdin.close()
    assert parent.wait() == 0
    for _ in range(5):
        process = driver(tmp_path, "ray")
        kill(process.pid, start=15.0)
        assert process.wait() == -signal.SIGKILL
        check_study(tmp_path)
    assert driver(tmp_path, "ray").wait() == 0
    check_study(tmp_path)

    results = nas.load_results(tmp_path / "toy")
    assert len(results.trials) == TRIALS
    assert {t.state for t in (*results.trials, *results.repeats)} == {"complete", "pruned"}
    assert any(t.state == "complete" for t in results.repeats), "the finals"
    for trial in (*results.trials, *results.repeats):
        last = max(trial.curve)
        assert last in RUNGS
        assert (last == RUNGS[-1]) == (trial.state == "complete")
        assert [epoch["epoch"] for epoch in trial.history] == list(range(1, last + 1))
        assert list(trial.curve) == list(range(1, last + 1))

    # What a kill costs: the stretch from one rung to the next of what was running, of one trial or two with Ray.
    runs = {}
    for process, trial, epoch, _ in reported(tmp_path):
        runs.setdefault(process, []).append((trial, epoch))
    before = set()
    for run in runs.values():
        assert len(run) == len(set(run))
        assert len({trial for trial, _ in set(run) & before}) <= 2
        before |= set(run)
    assert not list((tmp_path / "toy" / "checkpoints").iterdir())
    assert {path.name for path in (tmp_path / "toy").iterdir()} - SQLITE == LEFT
    assert not [folder for folder in Path("/tmp").glob("nas-ray-*") if folder.name.split("-")[2] in map(str, runs)]
