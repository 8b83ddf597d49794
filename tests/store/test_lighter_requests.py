"""What makes requests to the server cheaper."""

from __future__ import annotations

from pathlib import Path

import httpx

from speckle_plugin.store.server.upstream.lighter_requests import remembered
from tests.store.applications import KEY, served_here


def test_signatures_are_inspected_at_the_first_request_only(data_directory: Path) -> None:
    """Fails if FastAPI no longer asks us: then the module can go, or has to follow."""
    headers = {"Authorization": f"Apikey {KEY}"}
    with served_here(data_directory) as uri, httpx.Client(headers=headers, trust_env=False) as client:
        client.get(f"{uri}/metadata/runs").raise_for_status()
        before = remembered()
        client.get(f"{uri}/metadata/runs").raise_for_status()
        after = remembered()
    assert after.hits > before.hits
    assert after.misses == before.misses
