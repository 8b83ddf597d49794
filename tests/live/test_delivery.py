"""When documents are recorded, delivered and flushed."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from speckle_plugin.live.delivery import FLUSH_INTERVAL, Delivery


class Saver:
    """Notes what it is told to do."""

    def __init__(self, flush_seconds: float = 0.0) -> None:
        self.calls: list[str] = []
        self.flushes: list[float] = []
        self._flush_seconds = flush_seconds
        self.may_save = threading.Event()
        self.may_save.set()

    def record(self, name: str, doc: dict[str, Any]) -> None:
        self.calls.append(f"record {name}")

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        self.may_save.wait(10)
        self.calls.append(f"save {name}")

    def flush(self) -> None:
        self.flushes.append(time.monotonic())
        time.sleep(self._flush_seconds)


def test_documents_are_recorded_while_the_saver_is_slow() -> None:
    delivery, saver = Delivery(), Saver()
    delivery.subscribe(saver, saves=True)
    saver.may_save.clear()
    for name in ("start", "event", "stop"):
        delivery.put(name, {})
    assert saver.calls == ["record start", "record event", "record stop"]
    saver.may_save.set()
    delivery.close()
    assert saver.calls[3:] == ["save start", "save event", "save stop"]


@pytest.mark.parametrize(("busy", "most", "least"), [(True, 2, 1), (False, 6, 2)])
def test_flushes_are_rarer_while_the_processor_is_needed(busy: bool, most: int, least: int) -> None:
    delivery, saver = Delivery(busy=lambda: busy), Saver(flush_seconds=0.1)
    delivery.subscribe(saver, saves=True)
    end = time.monotonic() + 5 * FLUSH_INTERVAL
    while time.monotonic() < end:
        delivery.put("event", {})
        time.sleep(0.02)
    assert least <= len(saver.flushes) <= most
    gaps = [later - earlier for earlier, later in zip(saver.flushes, saver.flushes[1:], strict=False)]
    assert all(gap > FLUSH_INTERVAL for gap in gaps)
    delivery.close()


def test_a_single_document_is_flushed_at_once() -> None:
    delivery, saver = Delivery(), Saver()
    delivery.subscribe(saver, saves=True)
    time.sleep(0.05)
    delivery.put("event", {})
    deadline = time.monotonic() + 0.5 * FLUSH_INTERVAL
    while not saver.flushes and time.monotonic() < deadline:
        time.sleep(0.01)
    assert saver.flushes
    delivery.close()


def test_what_is_to_be_delivered_is_flushed_before_it_is_said() -> None:
    delivery, saver = Delivery(busy=lambda: True), Saver()
    delivery.subscribe(saver, saves=True)
    for _ in range(3):
        delivered = threading.Event()
        delivery.put("stop", {}, delivered)
        assert delivered.wait(5)
    assert len(saver.flushes) == 3
    delivery.close()


def test_a_slow_flush_does_not_put_off_the_next_for_long() -> None:
    delivery, saver = Delivery(), Saver(flush_seconds=2.0)
    delivery.subscribe(saver, saves=True)
    delivery.put("event", {})
    time.sleep(0.1)
    delivery.put("event", {})
    deadline = time.monotonic() + 2.0 + 2.0
    while len(saver.flushes) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(saver.flushes) == 2
    delivery.close()
