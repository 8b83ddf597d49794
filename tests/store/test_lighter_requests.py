"""What makes requests to the embedded server cheaper."""

from __future__ import annotations

import gc
from pathlib import Path

from speckle_plugin.store import TiledStore
from speckle_plugin.store.server.upstream.lighter_requests import _inspected


def test_signatures_are_inspected_at_the_first_request_only(store: TiledStore) -> None:
    """Fails if FastAPI no longer asks us: then the module can go, or has to follow."""
    client = store.runs.context.http_client
    client.get(store.uri).raise_for_status()
    before = _inspected.cache_info()
    client.get(store.uri).raise_for_status()
    after = _inspected.cache_info()
    assert after.hits > before.hits
    assert after.misses == before.misses


def test_what_is_alive_is_left_out_of_garbage_collections_while_a_store_is_open(tmp_path: Path) -> None:
    gc.unfreeze()
    with TiledStore(tmp_path):
        assert gc.get_freeze_count() > 10_000
    assert gc.get_freeze_count() == 0
