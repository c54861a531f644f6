"""The pool's promises when processes die, hang or are told to stop: real processes, real signals."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from nas.errors import SearchFailed
from nas.workers import ray_private, watching
from nas.workers import ray_session as ray_session_module
from nas.workers.stopping import Stop, deadline_of, stopped_by_signals

SCRIPT = """
import json, os, signal, sys, time
import torch
from here import Queue
from nas.errors import Stopped
from nas.workers.pool import work_through
from nas.workers.resources import Resources

marks, options = sys.argv[1], json.loads(sys.argv[2])

def run(job):
    name, _, what = job.partition("-")
    yield "begun"
    if what == "slow":
        open(f"{marks}/{name}-{time.time_ns()}", "w").close()
        time.sleep(600)
    first = not os.path.exists(f"{marks}/{name}")
    open(f"{marks}/{name}", "w").close()
    if what == "dies" or what == "dies once" and first:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hangs":
        while True:
            pass
    if what == "crowded":
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. 19.00 GiB allowed; Of the allocated memory 3.10 GiB is "
            "allocated by PyTorch, and 512.00 MiB is reserved by PyTorch but unallocated."
        )
    if what == "raises":
        raise ValueError("no")
    yield "ended"

class Jobs(Queue):
    def __init__(self, jobs):
        super().__init__(jobs)
        self.said, self.losses = [], {}
    def report(self, job, item):
        return True
    def end(self, job):
        self.said.append(f"{job}: ended"); self.running -= 1
    def fail(self, job, reason):
        self.said.append(f"{job}: failed, {reason}"); self.running -= 1
    def lost(self, job, reason, memory):
        self.said.append(f"{job}: lost, {reason}, {memory}"); self.running -= 1
        self.losses[job] = self.losses.get(job, 0) + 1
        if self.losses[job] < 3:
            self.waiting.append(job)

deadline = time.monotonic() + options.pop("seconds") if "seconds" in options else None
work = Jobs(options.pop("jobs"))
code = 0
try:
    work_through(work, run, Resources("cpu", 2, 1, 0.0), deadline=deadline, **options)
except Stopped as stop:
    print("stopped:", stop)
    code = stop.code
print("\\n".join(sorted(work.said)))
sys.exit(code)
"""


def start(folder, options):
    (folder / "script.py").write_text(SCRIPT)
    tests = Path(__file__).resolve().parent
    path = os.pathsep.join([str(tests.parent), str(tests)])
    env = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, str(folder / "script.py"), str(folder), options],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_jobs_that_lose_their_worker_hang_or_raise_cost_nobody_else_anything(tmp_path):
    jobs = '["a-ok", "b-dies once", "c-hangs", "d-dies", "e-raises", "f-ok", "g-crowded"]'
    process = start(tmp_path, f'{{"jobs": {jobs}, "patience": 4}}')
    said, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    lost = "lost, the worker process died, False"
    assert said.splitlines() == [
        "a-ok: ended",
        "b-dies once: ended",
        f"b-dies once: {lost}",
        "c-hangs: failed, nothing came of it for 4 s, so its worker was ended",
        *[f"d-dies: {lost}"] * 3,
        "e-raises: failed, ValueError: no",
        "f-ok: ended",
        *["g-crowded: lost, others have taken its share of the GPU's memory, None"] * 3,
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [(signal.SIGTERM, 143, "stopped by SIGTERM"), (None, 0, "the time limit is reached")],
)
def test_whatever_stops_the_work_stops_it_soon_with_one_line(tmp_path, number, code, reason):
    """Even though both workers are in the middle of an epoch of ten minutes."""
    options = '{"jobs": ["a-slow", "b-slow", "c-ok"]' + (', "seconds": 45}' if number is None else "}")
    process = start(tmp_path, options)
    wait_until(lambda: len(list(tmp_path.glob("[ab]-*"))) == 2)
    begin = time.monotonic()
    if number is not None:
        os.kill(process.pid, number)
    said, errors = process.communicate(timeout=90)
    assert time.monotonic() - begin < (60 if number is None else 30)
    assert process.returncode == code, errors
    assert said.splitlines() == [f"stopped: {reason}", ""]
    assert "Traceback" not in errors
    assert "C++" not in errors


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(tmp_path):
    process = start(tmp_path, '{"jobs": ["a-slow", "b-slow"]}')
    wait_until(lambda: len(list(tmp_path.glob("[ab]-*"))) == 2)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=3) == 130


@pytest.mark.slow
@pytest.mark.parametrize("server", ["raylet", "gcs_server"])
def test_when_ray_itself_dies_the_driver_ends_soon_with_one_line(tmp_path, server):
    process = start(tmp_path, '{"jobs": ["a-slow", "b-slow"]}')
    wait_until(lambda: len(list(tmp_path.glob("[ab]-*"))) == 2)
    (victim,) = [p for p in psutil.Process(process.pid).children(recursive=True) if p.name() == server]
    victim.kill()
    begin = time.monotonic()
    said, errors = process.communicate(timeout=90)
    assert time.monotonic() - begin < 30
    assert process.returncode == 1, errors
    assert f"stopped: Ray has lost its {server} process" in said + errors
    assert "Traceback" not in errors


def test_servers_that_end_because_we_stop_ray_are_no_news(monkeypatch):
    """Ray takes seconds to shut down, and its servers go one after the other."""
    ended = []
    monkeypatch.setattr(watching, "EVERY", 0.01)
    monkeypatch.setattr(ray_private, "dead_server", lambda ray: "its raylet process" if ended else "")
    monkeypatch.setattr(ray_session_module.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_session_module.ray, "init", lambda **options: None)
    monkeypatch.setattr(ray_session_module.ray, "shutdown", lambda: (ended.append(True), time.sleep(0.2)))
    stop = Stop()
    with ray_session_module.ray_session(1, stop):
        time.sleep(0.1)
    assert ended
    assert not stop.asked
    with ray_session_module.ray_session(1, stop):  # dead from the first moment on
        time.sleep(0.2)
    assert (stop.code, stop.reason) == (1, "stopped: Ray has lost its raylet process")


@pytest.mark.slow
def test_our_ray_is_our_own_listens_on_this_machine_only_and_asks_for_its_token(tmp_path, monkeypatch):
    """Beside the address file of a Ray that is gone, and with a folder whose path is too long for sockets."""
    place = tmp_path / ("x" * 100)
    (place / "ray").mkdir(parents=True)
    (place / "ray" / "ray_current_cluster").write_text("127.0.0.1:9")
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    stranger = "import sys, ray._raylet as r; print(r.GcsClient(address=sys.argv[1]).get_all_node_info())"
    for _ in range(2):  # a second one in the same process has a token of its own
        with ray_session_module.ray_session(1, Stop()):
            processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
            listening = {c.laddr.ip for p in processes for c in p.net_connections() if c.status == psutil.CONN_LISTEN}
            assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
            (files,) = Path("/tmp").glob(f"nas-ray-{os.getpid()}-*")
            assert files.stat().st_mode & 0o777 == 0o700
            address = ray_session_module.ray.get_runtime_context().gcs_address
            known = subprocess.run([sys.executable, "-c", stranger, address], capture_output=True, text=True)
            assert known.returncode == 0, known.stderr
            env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
            refused = subprocess.run([sys.executable, "-c", stranger, address], capture_output=True, text=True, env=env)
            assert refused.returncode
            assert "nauthenticated" in refused.stderr
        assert not files.exists()
    assert not [name for name in os.environ if name.startswith("RAY_AUTH")]


@pytest.mark.parametrize("fails", [1, 2])
def test_a_ray_that_does_not_start_is_started_once_more(monkeypatch, fails):
    tried = []

    def init(**options):
        tried.append(options)
        if len(tried) <= fails:
            raise Exception(f"The current node timed out during startup.\nmore {len(tried)}")

    monkeypatch.setattr(ray_session_module.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_session_module.ray, "init", init)
    monkeypatch.setattr(ray_session_module.ray, "shutdown", lambda: None)
    failure = pytest.raises(
        SearchFailed, match=r"does not start on this machine.*timed out .* more 1; then .* more 2\)"
    )
    with failure if fails == 2 else contextlib.nullcontext(), ray_session_module.ray_session(1, Stop()):
        pass
    assert len(tried) == 2
    assert {options["address"] for options in tried} == {"local"}


def test_a_temporary_folder_that_is_too_long_for_sockets_is_not_left_without_a_word(monkeypatch, capsys):
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * 15)
    assert ray_session_module._place() == Path("/xxxxxxxxxxxxxxx")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * 16)
    assert ray_session_module._place() == Path("/tmp")
    assert "Ray's files go to /tmp: /xxxxxxxxxxxxxxxx is longer than the 16 bytes" in capsys.readouterr().err


def test_the_first_reason_to_stop_stays():
    stop = Stop(time.monotonic() - 1)
    assert stop.asked
    stop.ask("stopped by SIGTERM", 143)
    assert (stop.code, stop.reason) == (0, "the time limit is reached")


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [(signal.SIGTERM, 143, "stopped by SIGTERM"), (signal.SIGUSR1, 0, "stopped by SIGUSR1"),
     (signal.SIGINT, 130, "stopped")],
)  # fmt: skip
def test_a_signal_asks_for_the_end_and_its_handler_is_given_back(number, code, reason):
    before, stop = signal.getsignal(number), Stop()
    with stopped_by_signals(stop):
        os.kill(os.getpid(), number)
    assert (stop.asked, stop.code, str(stop.error())) == (True, code, reason)
    assert signal.getsignal(number) is before


def test_a_time_limit_leaves_time_for_the_report():
    assert not Stop(None).asked
    assert not Stop(time.monotonic() + 10).asked
    passed = Stop(time.monotonic() - 1)
    assert passed.asked
    assert (passed.error().code, str(passed.error())) == (0, "the time limit is reached")
    assert deadline_of(None) is None
    for limit, reserve in ((3600.0, 30.0), (60.0, 6.0)):
        assert deadline_of(limit) == pytest.approx(time.monotonic() + limit - reserve, abs=1)


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
