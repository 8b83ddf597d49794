"""Which open run a document belongs to.

The one place where documents are told apart. Who has routed a document hands on what he keeps of its run,
so that those behind him need not do it again: the live pipeline routes for all that are subscribed to it,
and a :class:`RunCallback` does so where it is subscribed to a RunEngine by itself.

event_model's RunRouter does this as well, but packs events into pages, keeps each reference to a frame in
memory twice, and never forgets a resource.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

__all__ = ["OpenRuns", "RunCallback"]

Run = TypeVar("Run")

Follower = TypeVar("Follower", bound=Callable[[str, dict[str, Any]], object])

_PARENT = {
    "event": "descriptor",
    "event_page": "descriptor",
    "datum": "resource",
    "datum_page": "resource",
    "stream_datum": "descriptor",
}
"""Where a document names the descriptor or resource that it belongs to."""

_PARENTS = frozenset({"descriptor", "resource", "stream_resource"})
"""Documents that others name as theirs."""


class OpenRuns(Generic[Run]):
    """What is kept of each open run, found by the documents of any number of runs.

    Several threads may use it.
    """

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._owners: dict[str, set[str]] = {}
        self._members: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def open(self, uid: str, run: Run) -> Run:
        """Add a run; give what is kept of it, which is older if it is open already."""
        with self._lock:
            self._members.setdefault(uid, set())
            return self._runs.setdefault(uid, run)

    def close(self, uid: str) -> Run | None:
        """Forget a run, and give what was kept of it, if it was open."""
        with self._lock:
            for member in self._members.pop(uid, ()):
                self._owners[member].discard(uid)
                if not self._owners[member]:
                    del self._owners[member]
            return self._runs.pop(uid, None)

    def items(self) -> list[tuple[str, Run]]:
        """Give the uid of each open run, and what is kept of it."""
        with self._lock:
            return list(self._runs.items())

    def find(self, name: str, doc: Mapping[str, Any]) -> list[Run]:
        """Give the run that a document belongs to; none if that is not open.

        A resource need not tell its run: then it belongs to all that are open.
        """
        with self._lock:
            wanted = self._uids_of(name, doc)
            uids = [uid for uid in self._runs if uid in wanted]
            if name in _PARENTS and uids:
                self._owners.setdefault(doc["uid"], set()).update(uids)
                for uid in uids:
                    self._members[uid].add(doc["uid"])
            return [self._runs[uid] for uid in uids]

    def _uids_of(self, name: str, doc: Mapping[str, Any]) -> set[str]:
        if name == "start":
            return {doc["uid"]}
        if "run_start" in doc:
            return {doc["run_start"]}
        if name in _PARENTS:
            return set(self._runs)
        return self._owners.get(doc.get(_PARENT.get(name, ""), ""), set())


class RunCallback(ABC, Generic[Follower]):
    """A callback whose state is kept in one object for each open run, its follower.

    Called with documents of any number of runs it routes them. Who knows already which run a document
    belongs to calls the follower that `open_run` gave him.
    """

    def __init__(self) -> None:
        self._routes: OpenRuns[Follower] = OpenRuns()

    @abstractmethod
    def open_run(self, start: Mapping[str, Any]) -> Follower:
        """Give what takes the documents of a run, from its start document on."""

    def route(self, name: str, doc: Mapping[str, Any]) -> list[Follower]:
        """Give the followers of the runs that a document belongs to; a start document opens its run."""
        if name == "start":
            return [self._routes.open(doc["uid"], self.open_run(doc))]
        return self._routes.find(name, doc)

    def close_route(self, uid: str) -> None:
        """Forget the follower of a run."""
        self._routes.close(uid)

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document; those of runs whose start did not come are left alone."""
        for follower in self.route(name, doc):
            follower(name, doc)
        if name == "stop":
            self.close_route(doc["run_start"])
