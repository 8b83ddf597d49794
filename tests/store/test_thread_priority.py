"""Threads that give way."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from speckle_plugin.live.delivery import Delivery
from speckle_plugin.store import TiledStore
from speckle_plugin.store.server.address import read_address
from speckle_plugin.thread_priority import NICENESS, give_way
from tests.testing.processes import niceness_of_session


def niceness(thread: threading.Thread) -> int:
    assert thread.native_id is not None
    return os.getpriority(os.PRIO_PROCESS, thread.native_id)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
def test_saving_gives_way_and_the_rest_does_not(store: TiledStore) -> None:
    before = niceness(threading.main_thread())  # 0, unless the tests run under `nice`
    delivery = Delivery()
    names = {thread.name: thread for thread in threading.enumerate()}
    assert niceness(names["speckle-delivery"]) == NICENESS
    delivery.close()
    assert niceness(threading.main_thread()) == before
    server = read_address(store.frames_directory.parent)
    assert server is not None and os.getpriority(os.PRIO_PROCESS, server.pid) == NICENESS
    assert niceness_of_session(server.pid) in (NICENESS, None)
    ended = threading.Thread(target=lambda: None)
    give_way(ended)  # has not begun
    ended.start()
    ended.join()
    give_way(ended)
