"""The orders that a worker process takes and the answers that it gives.

One Ray trial runs one `Worker` until the work is done.
"""

from __future__ import annotations

import asyncio
import faulthandler
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nas.workers import ray_private  # noqa: F401  before Ray
from nas.workers.checkpoints import CheckpointFailed, Clock
from nas.workers.failures import crowded_out, describe_failure, lost_device
from nas.workers.greeting import Home, greet

import ray  # isort: skip
from ray import tune  # isort: skip

# The orders besides a new job; SAVE: continue, with a checkpoint after the next epoch.
CONTINUE, SAVE, RELEASE, LEAVE = "continue", "save", "release", "leave"
CROWDED = "others have taken its share of the GPU's memory"
RETRY, LONGEST_RETRY = 5.0, 60.0  # seconds before a job that was hindered is tried again; doubled each time


class Kind(StrEnum):
    """The kinds of answer."""

    READY = "ready"  # the worker has started
    REFUSED = "refused"  # it has started where it cannot work
    ITEM = "item"  # its job has yielded an item
    END = "end"  # its job has yielded everything
    FAILED = "failed"  # its job raised an exception
    HINDERED = "hindered"  # something outside its job stopped it: others fill the GPU, or the disk is full
    BROKEN = "broken"  # its process can no longer use the GPU
    LEFT = "left"  # it was dismissed


@dataclass(frozen=True)
class Item:
    """Hides an item from Tune, which would flatten a mapping and look for metrics in it."""

    value: Any


@ray.remote(num_cpus=0)
class Mailbox:
    """Orders by address and number.

    Each process has its own address, so it never takes the orders of one that died. Orders are numbered because calls
    of an asynchronous actor may overtake each other.
    """

    def __init__(self) -> None:
        self.slots: dict[tuple[str, int], asyncio.Future[Any]] = {}

    async def put(self, address: str, number: int, order: Any) -> None:
        self._slot(address, number).set_result(order)

    async def take(self, address: str, number: int) -> Any:
        order = await self._slot(address, number)
        del self.slots[address, number]
        return order

    def _slot(self, address: str, number: int) -> asyncio.Future[Any]:
        if (address, number) not in self.slots:
            self.slots[address, number] = asyncio.get_running_loop().create_future()
        return self.slots[address, number]


@ray.remote(num_cpus=0)
class Hands:
    """Does on the driver's machine what workers elsewhere ask for (`nas.workers.far`)."""

    def do(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


class Worker(tune.Trainable):
    """Takes one order and gives one answer per step."""

    def setup(self, config: dict[str, Any]) -> None:
        self.mailbox = config["mailbox"]
        self.run: Callable[[Any], Iterator[Any]] = config["run"]
        self.home: Home | None = config["home"]
        self.hands = config["hands"]
        self.address = uuid.uuid4().hex
        self.taken = 0
        self._ask()  # ahead of time: the next order arrives while the last item is being handled
        self.greeted = self.broken = False
        self.hindered = 0  # times in a row
        self.items: Iterator[Any] | None = None

    def step(self) -> dict[str, Any]:
        if self.broken:
            raise RuntimeError("the GPU is lost to this process; Ray will renew it")
        if not self.greeted:
            self.greeted = True
            reason = "" if self.home is None else greet(self.home, self._on_driver)
            place = {"address": self.address, "node": ray.get_runtime_context().get_node_id()}
            if reason:
                return {"kind": Kind.REFUSED, "reason": f"{ray.util.get_node_ip_address()}: {reason}", **place}
            return {"kind": Kind.READY, **place}
        order, seconds = self._take()
        while order == RELEASE:
            self._release()
            order, seconds = self._take()
        if order == LEAVE:
            self._release()
            return {"kind": Kind.LEFT}
        begin = time.monotonic()
        answer = self._answer(order, seconds)
        if answer["kind"] == Kind.HINDERED:
            time.sleep(min(RETRY * 2**self.hindered, LONGEST_RETRY))  # it is tried again, perhaps here
            self.hindered += 1
        elif answer["kind"] == Kind.ITEM:
            self.hindered = 0
        return {**answer, "seconds": time.monotonic() - begin}

    def _answer(self, order: Any, seconds: float) -> dict[str, Any]:
        """Do as ordered, within so many seconds."""
        # A thread of C ends the process if it hangs, even in code that never gives Python a turn.
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or 2)
        try:
            Clock.now = order == SAVE
            if order not in (CONTINUE, SAVE):
                self._release()
                self.items = iter(self.run(order))
            assert self.items is not None
            item = Item(next(self.items))
            return {"kind": Kind.ITEM, "item": item, "saved": order == SAVE and not Clock.now}
        except StopIteration:
            self._release()
            return {"kind": Kind.END}
        except Exception as error:
            self._release()
            self.broken = lost_device(error)
            hindered = isinstance(error, CheckpointFailed) or crowded_out(error)
            kind = Kind.BROKEN if self.broken else Kind.HINDERED if hindered else Kind.FAILED
            return {"kind": kind, "reason": CROWDED if crowded_out(error) else describe_failure(error)}
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _on_driver(self, function: Callable[..., Any], *args: Any) -> Any:
        return ray.get(self.hands.do.remote(function, *args))

    def _take(self) -> tuple[Any, float]:
        """The next order, and the seconds within which it must be answered."""
        order = ray.get(self.order)
        self.taken += 1
        self._ask()
        return order

    def _ask(self) -> None:
        self.order = self.mailbox.take.remote(self.address, self.taken)

    def _release(self) -> None:
        """Close the job, so that an idle worker holds no network: a suspended generator would keep its own."""
        if self.items is not None:
            close = getattr(self.items, "close", None)
            if close is not None:
                close()
            self.items = None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        return None  # the checkpoints of trials are our own

    def load_checkpoint(self, checkpoint: Any) -> None:
        return None
