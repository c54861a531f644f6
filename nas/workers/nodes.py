"""The nodes of the cluster while work runs on it: which have joined, are about to go, or are gone."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from nas.workers.ray_session import answers, nodes, own_node
from nas.workers.resources import Node

EVERY = 5.0  # seconds between looks
PATIENCE = 2.0  # seconds for a node to answer


class Nodes:
    """Looks at the cluster now and then. Nodes have Ray's names."""

    def __init__(self) -> None:
        self.own = own_node()
        self._seen: Sequence[Node] = ()
        self._next = -math.inf

    def alive(self) -> Sequence[Node]:
        """All nodes, also those that are about to go: their workers are not replaced, but others may start beside."""
        return self._look()

    def leaves(self, name: str) -> bool:
        """Whether a node is about to go."""
        return any(node.name == name and node.leaving for node in self._look())

    def gone(self, name: str) -> bool:
        """Whether a node is gone by now: its processes die before Ray has heard of it."""
        self._next = -math.inf
        return not any(node.name == name and answers(node.place, PATIENCE) for node in self._look())

    def _look(self) -> Sequence[Node]:
        if time.monotonic() >= self._next:
            self._seen, self._next = nodes(), time.monotonic() + EVERY
        return self._seen
