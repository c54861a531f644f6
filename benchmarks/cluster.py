"""A cluster of three machines, which are network namespaces here, and what becomes of a search on it. Run as root.

    python benchmarks/cluster.py                     # every scenario
    python benchmarks/cluster.py "killed node" ...   # some of them

Node a is the driver's and the head; b and c join it. Each gives Ray one CPU, so each holds one worker. With unshared
folders a node sees an empty one in place of that which holds runs, cache and Ray's own files. Prints a row for each
scenario: its trials, which nodes trained, and the lines of the search that say what happened.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from nas.reading import load_results

ROOT = Path(__file__).resolve().parents[1]
SEARCH = (
    "--study", "hybrid", "--sampler", "random", "--images", "3000", "--image-size", "32", "--epochs", "12",
    "--max-macs", "6000000", "--finals", "0", "--seed", "3",
)  # fmt: skip
EVENTS = re.compile(r"lost|its node|no work|Ray |stopp|error|once more|again from|Traceback|died")


@dataclass
class Net:
    """Namespaces nas-a, nas-b, ..., with the addresses 10.77.9.1, .2, ... on one bridge in the first."""

    names: str
    folder: Path  # what a shared file system holds: runs, cache, and the files of Ray

    def __post_init__(self) -> None:
        self.down()
        for k, name in enumerate(self.names):
            run("ip", "netns", "add", f"nas-{name}")
            run("ip", "-n", f"nas-{name}", "link", "set", "lo", "up")
            if not k:
                run("ip", "-n", "nas-a", "link", "add", "bridge", "type", "bridge")
                port = "bridge"
            else:
                port = "eth"
                ends = ("type", "veth", "peer", "name", f"to-{name}", "netns", "nas-a")
                run("ip", "link", "add", "eth", "netns", f"nas-{name}", *ends)
                run("ip", "-n", "nas-a", "link", "set", f"to-{name}", "master", "bridge", "up")
            run("ip", "-n", f"nas-{name}", "addr", "add", f"10.77.9.{k + 1}/24", "dev", port)
            run("ip", "-n", f"nas-{name}", "link", "set", port, "up")

    def down(self) -> None:
        for name in self.names:
            kill(self.processes(name))
            subprocess.run(["ip", "netns", "del", f"nas-{name}"], stderr=subprocess.DEVNULL)

    def processes(self, name: str) -> list[psutil.Process]:
        """Everything that runs on a node."""
        found = subprocess.run(["ip", "netns", "pids", f"nas-{name}"], capture_output=True, text=True).stdout
        return [psutil.Process(int(pid)) for pid in found.split() if psutil.pid_exists(int(pid))]

    def trainers(self, name: str) -> list[psutil.Process]:
        return [p for p in self.processes(name) if command(p).startswith(("ray::Worker", "ray::ResourceTrainable"))]

    def start(self, name: str, *, shared: bool = True, code: Path = ROOT) -> None:
        """Start Ray on a node."""
        head = ["--head", "--port", "6379"] if name == "a" else ["--address", "10.77.9.1:6379"]
        address = f"10.77.9.{self.names.index(name) + 1}"
        own = ["--include-dashboard", "false", "--temp-dir", str(self.folder / "ray")] if name == "a" else []
        words = [
            "ray", "start", *head, "--node-ip-address", address, "--num-cpus", "1",
            "--object-store-memory", "200000000", *own,
        ]  # fmt: skip
        hide = "" if shared else f"mount -t tmpfs none {self.folder}; "
        hide += f"mount --bind {code} {ROOT}; " if code != ROOT else ""
        env = {**self.env(), "NAS_CACHE": "/proc/a-raylet-has-no-cache"}
        for left in (2, 1, 0):  # Ray gives up after half a minute, which is short on a busy machine
            try:
                run("ip", "netns", "exec", f"nas-{name}", "unshare", "-m", "sh", "-c", hide + " ".join(words), env=env)
                return
            except RuntimeError:
                if not left:
                    raise
                kill(self.processes(name))

    def env(self) -> dict[str, str]:
        return {
            **os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a-token-of-the-cluster-that-nodes-share",
            "RAY_ADDRESS": "10.77.9.1:6379", "NAS_CACHE": str(self.folder / "cache"), "PYTHONPATH": str(ROOT),
            "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1",
            "RAY_raylet_start_wait_time_s": "60", "RAY_worker_register_timeout_seconds": "600",
        }  # fmt: skip


@dataclass
class Search:
    """A search that runs on node a, and which nodes have trained for it so far."""

    net: Net
    name: str
    trials: int
    nodes: dict[str, float] = field(default_factory=dict)  # node -> seconds of its workers' processor time

    def __post_init__(self) -> None:
        self.log = self.net.folder / f"{self.name}.log"
        runs = ("--runs", str(self.net.folder / "runs"), "--name", self.name, "--trials", str(self.trials))
        words = ("ip", "netns", "exec", "nas-a", sys.executable, "-m", "nas.run", *SEARCH, *runs)
        self.begin = time.monotonic()
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                words, env=self.net.env(), stdout=log, stderr=log, cwd=self.net.folder, start_new_session=True
            )

    def epochs(self) -> int:
        database = self.net.folder / "runs" / self.name / "study.db"
        if not database.exists():
            return 0
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection, suppress(sqlite3.Error):
            return int(connection.execute("SELECT count(*) FROM trial_intermediate_values").fetchone()[0])
        return 0

    def until(self, condition: Callable[[], object], seconds: float = 600.0) -> None:
        """Wait for it, at most until the search has ended."""
        end = time.monotonic() + seconds
        while not condition() and self.process.poll() is None:
            self.look()
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name}: see {self.log}")
            time.sleep(0.3)

    def look(self) -> None:
        for node in self.net.names:
            for process in self.net.trainers(node):
                with suppress(psutil.NoSuchProcess):
                    self.nodes[f"{node}{process.pid}"] = process.cpu_times().user

    def busy(self, node: str) -> bool:
        """Whether a worker there has been at work for longer than its start takes."""
        self.look()
        return any(key[0] == node and seconds > 9 for key, seconds in self.nodes.items())

    def end(self) -> str:
        """Wait for the end, and return the row of the table."""
        self.until(lambda: False, 900)
        lines = [line.strip() for line in self.log.read_text().splitlines()]
        told = [line for line in lines if EVENTS.search(line) and "starting Ray" not in line]
        told = [re.sub(r"\s+", " ", line).replace("|", "/") for line in dict.fromkeys(told)]
        results = load_results(self.net.folder / "runs" / self.name)
        states = ", ".join(f"{count} {state}" for state, count in results.counts().items() if count)
        trained = " ".join(sorted({key[0] for key in self.nodes}))
        seconds, said = time.monotonic() - self.begin, "<br>".join(told)
        return f"{states} | {trained} | {seconds:.0f} | {self.process.returncode} | {len(lines)} | {said}"


def run(*words: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def command(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def announced_end(net: Net, search: Search) -> None:
    inside, found = ("ip", "netns", "exec", "nas-a"), "n['NodeID'] for n in ray.nodes() if n['NodeName'] == '10.77.9.2'"
    node = run(*inside, sys.executable, "-c", f"import ray; ray.init(); print(*({found}))", env=net.env()).split()[-1]
    why = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot")
    run(*inside, "ray", "drain-node", "--node-id", node, *why, "--deadline-remaining-seconds", "120", env=net.env())
    with suppress(TimeoutError):  # its job may just have ended, and it gets no other
        search.until(lambda: "about to go" in search.log.read_text(), 60)
    kill(net.processes("b"))


def other_code(net: Net) -> Path:
    """The code as at another commit."""
    other = net.folder / "other"
    for name in ("nas", "search_space", "studies", "trainers"):
        shutil.copytree(ROOT / name, other / name, dirs_exist_ok=True)
    with (other / "trainers" / "fit.py").open("a") as file:
        file.write("# another line\n")
    return other


# scenario: node b at the start, the trials, and what happens once b trains (or, without b, once anything does)
SCENARIOS: dict[str, tuple[str, int, Callable[[Net, Search], None] | None]] = {
    "search across nodes": ("b", 6, None),
    "killed worker": ("b", 10, lambda net, search: kill(net.trainers("b"))),
    "killed node": ("b", 10, lambda net, search: kill(net.processes("b"))),
    "announced end": ("b", 10, announced_end),
    "joining node": ("", 8, lambda net, search: net.start("c")),
    "unshared folders": ("unshared", 6, None),
    "other code": ("other code", 4, None),
    "killed head": ("b", 10, lambda net, search: kill([p for p in net.processes("a") if "gcs_server" in command(p)])),
}


def row(net: Net, name: str) -> str:
    second, trials, disturb = SCENARIOS[name]
    if second:
        net.start("b", shared=second != "unshared", code=other_code(net) if second == "other code" else ROOT)
    search = Search(net, name.replace(" ", "-"), trials)
    if disturb is not None:
        search.until(lambda: search.epochs() > 2 and (not second or search.busy("b")))
        disturb(net, search)
    found = search.end()
    if name != "killed head":
        return found
    kill([p for node in net.names for p in net.processes(node)])
    net.start("a")  # the same command on a new cluster
    return f"{found} |\n| ... resumed | {Search(net, search.name, trials).end()}"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("scenarios", nargs="*", default=[*SCENARIOS], help=", ".join(SCENARIOS))
    print("| scenario | trials | nodes that trained | seconds | exit code | lines | what the search said |")
    print("|---|---|---|---|---|---|---|", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="nas-cluster-", dir="/tmp"))  # it stays after an error
    for name in p.parse_args().scenarios:
        net = Net("abc", folder)
        try:
            net.start("a")
            print(f"| {name} | {row(net, name)} |", flush=True)
        finally:
            net.down()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
