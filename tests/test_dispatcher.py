"""What the pool does with nodes that go and workers that cannot work, without processes: Ray's part is played here."""

from collections import Counter
from types import SimpleNamespace

import pytest
from here import Queue

from nas.errors import SearchFailed
from nas.searching.losses import OUTSIDE, Losses
from nas.workers.dispatcher import DEATH, LEAVING, NODE, OUT_OF_MEMORY, Dispatcher
from nas.workers.pool import _OneTrialPerWorker
from nas.workers.resources import Node, Resources
from nas.workers.stopping import Stop
from nas.workers.worker import CONTINUE, LEAVE, RELEASE, SAVE, Item, Kind


class Jobs(Queue):
    """Work that takes lost jobs back, and writes down what it is told."""

    def __init__(self, jobs):
        super().__init__(jobs)
        self.told = []

    def report(self, job, item):
        self.told.append((job, item))
        return True

    def end(self, job):
        self.running -= 1

    def lost(self, job, reason, memory):
        self.told.append((job, reason, memory))
        self.running -= 1
        self.waiting.insert(0, job)


class Cluster:
    """Workers 0, 1, ... on the nodes of these names, and the orders that each has."""

    def __init__(self, work, *nodes, patience=None):
        self.node_of, self.leaving, self.dead = nodes, set(), set()
        self.orders = {f"at {worker}": [] for worker in range(len(nodes))}
        seen = SimpleNamespace(own="a", leaves=self.leaving.__contains__, gone=self.dead.__contains__)
        put = SimpleNamespace(remote=lambda address, number, order: self.orders[address].append(order[0]))
        self.dispatcher = Dispatcher(work, SimpleNamespace(put=put), seen, Stop(), patience)
        for worker in range(len(nodes)):
            self.dispatcher.on_trial_add(None, self.trial(worker))

    def trial(self, worker):
        return SimpleNamespace(
            config={"worker": worker}, status="RUNNING", PENDING="PENDING", should_recover=lambda: True, error_file=None
        )

    def answers(self, worker, kind, **more):
        """Return the new orders of the worker after this answer."""
        place = {"address": f"at {worker}", "node": self.node_of[worker]}
        before = len(self.orders[f"at {worker}"])
        self.dispatcher.on_trial_result(None, self.trial(worker), {"kind": kind, **place, **more})
        if self.dispatcher.error is not None:
            raise self.dispatcher.error
        return self.orders[f"at {worker}"][before:]

    def item(self, worker, value, saved=False):
        return self.answers(worker, Kind.ITEM, item=Item(value), saved=saved, seconds=1.0)

    def dies(self, worker, *, for_good=False):
        trial = self.trial(worker)
        trial.should_recover = lambda: not for_good
        self.dispatcher.on_trial_error(None, trial)
        if self.dispatcher.error is not None:
            raise self.dispatcher.error


def test_a_node_that_announces_its_end_hands_its_trial_over_with_a_checkpoint():
    work = Jobs(["one", "two"])
    cluster = Cluster(work, "a", "b")
    assert cluster.answers(1, Kind.READY) == ["one"]
    assert cluster.item(1, 1) == [CONTINUE]
    cluster.leaving.add("b")
    assert cluster.item(1, 2) == [SAVE], "the next epoch ends with a checkpoint"
    assert cluster.item(1, 3) == [CONTINUE], "at its end a training makes none, and ends where it is"
    assert cluster.item(1, 4, saved=True) == [RELEASE]
    assert work.told[-2:] == [("one", 4), ("one", LEAVING, None)]
    assert cluster.answers(0, Kind.READY) == ["one"]
    assert cluster.item(0, 4) == [CONTINUE]
    assert cluster.answers(0, Kind.END) == ["two"]
    assert cluster.answers(0, Kind.END) == [LEAVE]
    assert cluster.orders["at 1"][-1] == LEAVE


def test_an_idle_worker_of_a_node_that_leaves_gets_no_job_and_is_dismissed_at_the_end():
    work = Jobs(["one"])
    cluster = Cluster(work, "a", "b")
    cluster.leaving.add("b")
    assert cluster.answers(1, Kind.READY) == []
    assert cluster.answers(0, Kind.READY) == ["one"]
    assert cluster.answers(0, Kind.END) == [LEAVE]
    assert cluster.orders["at 1"] == [LEAVE]


def test_a_search_ends_with_its_last_trial_although_every_node_is_about_to_go():
    class Late(Jobs):  # knows that nothing is left once it is asked, like the engine
        done = False

        def next(self):
            self.done = not self.waiting and not self.running
            return super().next()

    work = Late(["one", "two"])
    cluster = Cluster(work, "a", "a")
    cluster.leaving.add("a")
    assert cluster.answers(0, Kind.READY) == []
    cluster.leaving.clear()
    assert cluster.answers(1, Kind.READY) == ["two"]
    assert cluster.orders["at 0"] == ["one"], "a job that was drawn ahead is not lost"
    assert cluster.answers(0, Kind.END) == []
    cluster.leaving.add("a")
    assert cluster.answers(1, Kind.END) == [LEAVE]
    assert work.done
    assert cluster.orders["at 0"] == ["one", LEAVE]


@pytest.mark.parametrize(("gone", "memory"), [(True, None), (False, False)])
def test_the_death_of_a_whole_node_is_told_from_that_of_a_process(gone, memory):
    work = Jobs(["one"])
    cluster = Cluster(work, "b")
    cluster.answers(0, Kind.READY)
    if gone:
        cluster.dead.add("b")
    cluster.dies(0)
    ((_, reason, told),) = work.told
    assert (told, reason == NODE) == (memory, gone)


def test_a_node_that_is_gone_counts_as_no_death_of_a_trial_unless_a_trial_brings_down_every_node():
    losses = Losses()
    assert [losses.too_many("one", None) for _ in range(OUTSIDE)] == [False] * OUTSIDE
    assert [losses.too_many("one", False) for _ in range(3)] == [False, False, True]
    assert losses.too_many("one", None)
    assert [losses.too_many("other", None) for _ in range(OUTSIDE + 1)] == [False] * OUTSIDE + [True]
    assert not losses.of_memory("other")
    assert losses.reason("other", "its node is gone") == f"its node is gone; it was lost {OUTSIDE} times before"


def test_a_worker_that_cannot_work_gets_no_job_and_is_said_once_and_the_search_ends_if_none_can(capsys):
    work = Jobs(["one"])
    cluster = Cluster(work, "a", "b", "b")
    reason = "10.0.0.2: it has torch 2.0 and not 2.9"
    assert cluster.answers(1, Kind.REFUSED, reason=reason) == []
    assert cluster.answers(2, Kind.REFUSED, reason=reason) == []
    assert capsys.readouterr().err == f"no work for {reason}\n"
    assert cluster.dispatcher.error is None
    with pytest.raises(SearchFailed, match=r"no worker can work; 10\.0\.0\.2: it has torch 2\.0"):
        cluster.answers(0, Kind.REFUSED, reason=reason)
    assert work.waiting == ["one"]


def test_a_worker_whose_gpu_is_broken_fails_no_trial_and_gets_no_more_of_them(capsys):
    work = Jobs([f"job {k}" for k in range(20)])
    work.losses = Counter()
    real = work.lost

    def lost(job, reason, memory):
        work.losses[job] += 1
        real(job, reason, memory)
        if work.losses[job] == 3:
            work.waiting.remove(job)

    work.lost = lost
    cluster = Cluster(work, "a", "a")
    cluster.answers(0, Kind.READY)
    cluster.answers(1, Kind.READY)
    for _ in range(7):  # two jobs three times, as they are handed out again, and the third
        cluster.item(0, 1)
        cluster.answers(1, Kind.BROKEN, reason="AcceleratorError: CUDA error: uncorrectable ECC error")
        cluster.dies(1)
        cluster.answers(1, Kind.READY)
    assert "no work for a worker that lost its GPU under 3 jobs in a row" in capsys.readouterr().err
    before = list(cluster.orders["at 1"])
    assert len(before) == 7, "one job of each of its processes"
    assert [told[2] for told in work.told if len(told) == 3] == [False] * 7
    cluster.answers(0, Kind.END)
    assert cluster.orders["at 1"] == before
    cluster.dies(0, for_good=True)
    assert len(cluster.orders["at 1"]) == 8, "it is better than none"


def test_a_job_that_breaks_the_gpu_of_every_worker_costs_no_worker_its_work():
    cluster = Cluster(Jobs(["bad", "good", "better"]), "a", "a")
    cluster.answers(0, Kind.READY)
    cluster.answers(1, Kind.READY)
    cluster.item(1, 1)
    for _ in range(3):
        cluster.answers(0, Kind.BROKEN, reason="CUDA error: device-side assert triggered")
        cluster.dies(0)
        assert cluster.answers(0, Kind.READY) == ["bad"]


def test_the_only_worker_keeps_its_work_although_its_gpu_fails():
    cluster = Cluster(Jobs(["one"] * 9), "a")
    for _ in range(5):
        assert cluster.answers(0, Kind.READY) == ["one"]
        cluster.answers(0, Kind.BROKEN, reason="CUDA error")
        cluster.dies(0)


def test_what_hinders_a_job_from_outside_says_nothing_of_it():
    work = Jobs(["one"])
    cluster = Cluster(work, "a")
    cluster.answers(0, Kind.READY)
    assert cluster.answers(0, Kind.HINDERED, reason="others fill the disk") == ["one"]
    assert work.told == [("one", "others fill the disk", None)]


def test_a_node_that_is_gone_is_no_hang_however_late_its_end_is_known():
    work = Jobs(["one"])
    cluster = Cluster(work, "b", patience=0.0)
    cluster.answers(0, Kind.READY)
    cluster.dead.add("b")
    cluster.dies(0)
    assert work.told == [("one", NODE, None)]


def test_if_the_last_worker_that_can_work_is_lost_the_search_ends():
    cluster = Cluster(Jobs(["one"]), "a", "b")
    cluster.answers(1, Kind.REFUSED, reason="10.0.0.2: another torch")
    cluster.answers(0, Kind.READY)
    with pytest.raises(SearchFailed, match="no worker can work"):
        cluster.dies(0, for_good=True)


def test_a_worker_that_never_starts_ends_no_search_while_another_is_being_renewed():
    cluster = Cluster(Jobs(["one"]), "a", "b")
    cluster.answers(1, Kind.READY)
    for _ in range(3):
        cluster.dies(0)
    cluster.dies(1)  # Ray renews it
    cluster.dies(0)
    assert cluster.answers(1, Kind.READY) == ["one"]


def test_a_worker_that_cannot_start_again_ends_the_search_once_no_other_is_there(capsys):
    cluster = Cluster(Jobs(["one"]), "a", "b")
    cluster.answers(1, Kind.READY)
    for _ in range(3):
        cluster.dies(0)
    assert "a worker cannot start" in capsys.readouterr().err
    cluster.answers(1, Kind.ITEM, item=Item(1), saved=False, seconds=1.0)
    cluster.dies(1, for_good=True)
    with pytest.raises(SearchFailed, match="workers cannot start"):
        cluster.dies(0)


def test_a_process_that_ray_ended_for_want_of_memory_is_known_as_such(tmp_path):
    work = Jobs(["one"])
    cluster = Cluster(work, "a")
    cluster.answers(0, Kind.READY)
    trial = cluster.trial(0)
    trial.error_file = str(tmp_path / "error.txt")
    (tmp_path / "error.txt").write_text(
        "Failure # 1 (occurred at eleven)\nray.exceptions.OutOfMemoryError: the node was low on memory"
    )
    cluster.dispatcher.on_trial_error(None, trial)
    assert work.told == [("one", OUT_OF_MEMORY, True)]
    with (tmp_path / "error.txt").open("a") as file:  # as Ray does
        file.write("\nFailure # 2 (occurred at noon)\nray.exceptions.ActorDiedError: segmentation fault\n")
    cluster.answers(0, Kind.READY)
    cluster.dispatcher.on_trial_error(None, trial)
    assert work.told[1:] == [("one", DEATH, False)]


def test_a_node_that_joins_gets_workers_while_another_is_about_to_go():
    alive = [Node(1), Node(1, leaving=True)]
    searcher = _OneTrialPerWorker(Resources("cpu", 2, 1, 0.0, grows=True), SimpleNamespace(alive=lambda: alive))
    assert [searcher.suggest("") for _ in range(3)] == [{"worker": 0}, {"worker": 1}, None]
    alive.append(Node(1))
    assert [searcher.suggest("") for _ in range(2)] == [{"worker": 2}, None]
