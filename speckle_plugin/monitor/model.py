"""What all pages of a monitor share: the list of runs, the runs that are looked at, frames that were read.

One thread looks at the server, so that ten people cost it no more than one. Pages ask for what they show
(`follow`, `run_page`, `frame`), and draw what is there at their own pace: nothing piles up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from speckle_plugin.monitor.connection import Connection, is_gone, one_line
from speckle_plugin.monitor.explaining import Asked, Explainer, Saliency
from speckle_plugin.monitor.followed import FollowedRun, RunState
from speckle_plugin.monitor.region_means import RegionMeans
from speckle_plugin.monitor.run_list import RunList, RunPage
from speckle_plugin.monitor.shown_frame import ShownFrame, frame_and_mask, show_frame
from speckle_plugin.network import shipped_bundles
from speckle_plugin.store import StoredRun
from speckle_plugin.store.listening import Listener

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speckle_plugin.store import Store

__all__ = ["Monitor"]

logger = logging.getLogger(__name__)

TICK = 0.2
"""Seconds between looking at what is due."""

LIST_INTERVAL = 3.0
"""Seconds between reading a page of the list, where the server says nothing."""

FORGOTTEN = 10.0
"""Seconds after which a run or a page of the list is let go, that no page asked for."""

KEPT_BYTES = 256 * 2**20
"""Of frames that were read, for others who look at the same ones."""

READERS = 4
"""Frames that are read at a time."""


class Monitor:
    """What the pages show.

    Parameters
    ----------
    store : Store
        Where the runs are; nothing is written.
    masks : mapping of name to array of bool, optional
        Masks that sessions may have used.
    bundle : str, optional
        Name or path of the network, beside those that are shipped.

    Attributes
    ----------
    connection : Connection
    """

    def __init__(
        self, store: Store, masks: Mapping[str, NDArray[np.bool_]] | None = None, bundle: str | None = None
    ) -> None:
        self.connection = Connection()
        self._store, self._masks, self._bundle = store, masks or {}, bundle
        self._list = RunList(store.runs, self._live_counts)
        self._pages: dict[tuple[int, str], _KeptPage] = {}
        self._followed: dict[str, FollowedRun] = {}
        self._missing: dict[str, str] = {}
        self._frames: OrderedDict[tuple[str, str, int, int], Future[ShownFrame]] = OrderedDict()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="speckle-frames")
        self._explainer = Explainer()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._listener = Listener(
            store.runs.subscribe, ("child_created", "child_metadata_updated"), self._changed
        )
        self._thread = threading.Thread(target=self._run, name="speckle-monitor", daemon=True)
        self._thread.start()

    # What pages ask for

    def run_page(self, number: int, narrowed: str) -> RunPage | None:
        """Give a page of the list as it was last seen; None before it was."""
        with self._lock:
            kept = self._pages.setdefault((number, narrowed), _KeptPage())
        kept.wanted = time.monotonic()
        return kept.page

    def follow(self, uid: str) -> FollowedRun:
        """Give a run that is looked at from now on, as long as this is called every few seconds."""
        with self._lock:
            followed = self._followed.get(uid)
            if followed is None:
                followed = self._followed[uid] = FollowedRun(self._store.runs, uid)
        followed.wanted = time.monotonic()
        return followed

    def problem_of(self, uid: str) -> str:
        """Give why a run can't be shown, or nothing."""
        return self._missing.get(uid, "")

    def frame(self, uid: str, image_key: str, frame_index: int, averaged: int = 1) -> Future[ShownFrame]:
        """Read a frame on a thread of the monitor's; what was read lately is there at once."""
        key = (uid, image_key, frame_index, averaged)
        with self._lock:
            future = self._frames.pop(key, None)
            state = self._followed[uid].state if uid in self._followed else None
            if future is None or _is_outdated(future, state):
                future = self._readers.submit(self._read, *key)
            self._frames[key] = future
            size = sum(_size_of(one) for one in self._frames.values())
            while size > KEPT_BYTES and len(self._frames) > 1:
                size -= _size_of(self._frames.popitem(last=False)[1])
        return future

    def explain(self, uid: str, image_key: str, frame_index: int) -> Future[Saliency]:
        """Have the saliency of a frame computed, by the network that labelled it."""
        answer: Future[Saliency] = Future()

        def ask() -> None:
            try:
                asked = self._asked(uid, image_key, frame_index)
                self._explainer.explain(asked).add_done_callback(lambda done: _hand_over(done, answer))
            except Exception as error:
                answer.set_exception(error)

        self._readers.submit(ask)
        return answer

    def region_work(self, uid: str, means: RegionMeans) -> Future[bool]:
        """Read some frames of a region's curve."""
        return self._readers.submit(lambda: means.work(StoredRun(self._store.runs[uid])))

    def tiled_page(self, uid: str) -> str:
        """Give the address of Tiled's own page of a run. It holds no key: Tiled asks for it."""
        root, _, below = self._store.uri.partition("/api/v1")
        path = below.removeprefix("/metadata").strip("/")
        return f"{root}/ui/browse/{path}/{uid}/" if path else f"{root}/ui/browse/{uid}/"

    # What is done beside

    def _read(self, uid: str, image_key: str, frame_index: int, averaged: int) -> ShownFrame:
        with self._lock:
            followed = self._followed.get(uid)
        if followed is None:
            stored = StoredRun(self._store.runs[uid])
        else:
            stored = followed.stored_with(image_key, frame_index)
        return show_frame(stored, image_key, frame_index, averaged, self._masks)

    def _asked(self, uid: str, image_key: str, frame_index: int) -> Asked:
        stored = StoredRun(self._store.runs[uid])
        images = stored.images_of(image_key)
        frame, _, detector, _ = frame_and_mask(stored, images, frame_index, self._masks)
        if not stored.model.get("weights_sha256"):
            raise ValueError("no network has labelled this frame yet")
        if stored.settings.corrections:
            raise ValueError(
                "the frames were corrected by dark frames or flat fields, which is not done here: see "
                "speckle explain --run"
            )
        if detector.geometry is None:
            raise ValueError(detector.problem)
        named = str(stored.model.get("model"))
        bundles = [
            name for name in (named, self._bundle) if name in shipped_bundles() or name == self._bundle
        ]
        return Asked(
            frame,
            detector.geometry,
            detector.k_step,
            detector.center_assumed,
            named,
            str(stored.model["weights_sha256"]),
            tuple(name for name in bundles if name),
        )

    def _live_counts(self, uid: str) -> tuple[Mapping[str, int], float | None] | None:
        followed = self._followed.get(uid)
        if followed is None or followed.state is None:
            return None
        return followed.state.counts, followed.state.lowest_confidence

    def _changed(self, update: Any) -> None:
        for kept in list(self._pages.values()):
            kept.next_look = 0.0
        followed = self._followed.get(str(update.key))
        if followed is not None:
            followed.look_soon()

    def _run(self) -> None:
        while not self._closing.wait(TICK):
            self._explainer.end_if_idle()
            for look in [*self._due_pages(), *self._due_runs()]:
                if self._closing.is_set():
                    return
                self._try(look)

    def _due_pages(self) -> list[Callable[[], object]]:
        now = time.monotonic()
        with self._lock:
            for key in [key for key, kept in self._pages.items() if now - kept.wanted > FORGOTTEN]:
                del self._pages[key]
            due = [(key, kept) for key, kept in self._pages.items() if now >= kept.next_look]
        return [partial(self._look_at_page, key, kept) for key, kept in due]

    def _look_at_page(self, key: tuple[int, str], kept: _KeptPage) -> None:
        began = time.monotonic()
        kept.next_look = began + LIST_INTERVAL  # a word that comes meanwhile sets it to 0 again
        kept.page = self._list.page(*key)
        if kept.next_look:
            kept.next_look = max(kept.next_look, began + 3 * (time.monotonic() - began))

    def _due_runs(self) -> list[Callable[[], object]]:
        now = time.monotonic()
        with self._lock:
            gone = [uid for uid, one in self._followed.items() if now - one.wanted > FORGOTTEN]
            left = [self._followed.pop(uid) for uid in gone]
            # What is not asked says nothing of whether the server answers.
            due = [one for one in self._followed.values() if one.is_due]
        for one in left:
            one.close()
        return [partial(self._look_at_run, one) for one in due]

    def _look_at_run(self, followed: FollowedRun) -> None:
        try:
            followed.look()
            self._missing.pop(followed.uid, None)
        except Exception as error:
            if is_gone(error):
                raise
            missing = isinstance(error, KeyError) or "too short" in str(error)
            self._missing[followed.uid] = (
                f"There is no run {followed.uid}." if missing else f"The run can't be read: {one_line(error)}"
            )
            if not missing:
                logger.warning("the run %s can't be read", followed.uid, exc_info=error)

    def _try(self, look: Callable[[], object]) -> None:
        try:
            look()
        except Exception as error:
            self.connection.fails(error)
            logger.info("the Tiled server fails: %s", error)
        else:
            self.connection.works()

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        self._listener.close()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._thread.join(10.0)
        for one in self._followed.values():
            one.close()
        self._explainer.close()


class _KeptPage:
    """A page of the list, and when it is due."""

    def __init__(self) -> None:
        self.page: RunPage | None = None
        self.wanted = time.monotonic()
        self.next_look = 0.0


def _is_outdated(future: Future[ShownFrame], state: RunState | None) -> bool:
    """Tell whether reading failed, or the frame had no label when it was read and may have one now."""
    if not future.done():
        return False
    if future.cancelled() or future.exception() is not None:
        return True
    return not future.result().probabilities and (state is None or state.is_open)


def _size_of(future: Future[ShownFrame]) -> int:
    if not future.done() or future.cancelled() or future.exception() is not None:
        return 0
    return int(future.result().pixels.nbytes + future.result().masked.nbytes)


def _hand_over(done: Future[Saliency], answer: Future[Saliency]) -> None:
    error = done.exception()
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())
