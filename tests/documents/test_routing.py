"""Documents of several open runs are told apart."""

from __future__ import annotations

from typing import Any

import pytest

from speckle_plugin.documents.routing import OpenRuns


@pytest.fixture
def runs() -> OpenRuns[str]:
    """Two open runs, each with a descriptor, a resource and a stream resource."""
    opened: OpenRuns[str] = OpenRuns()
    for uid in ("a", "b"):
        assert opened.open(uid, f"run {uid}") == f"run {uid}"
        for kind in ("descriptor", "resource", "stream_resource"):
            assert opened.find(kind, {"uid": f"{uid} {kind}", "run_start": uid}) == [f"run {uid}"]
    return opened


@pytest.mark.parametrize(
    ("name", "doc"),
    [
        ("start", {"uid": "b"}),
        ("event", {"descriptor": "b descriptor"}),
        ("event_page", {"descriptor": "b descriptor"}),
        ("datum", {"resource": "b resource"}),
        ("datum_page", {"resource": "b resource"}),
        ("stream_datum", {"descriptor": "b descriptor", "stream_resource": "b stream_resource"}),
        ("stop", {"run_start": "b"}),
    ],
)
def test_each_document_finds_its_run(runs: OpenRuns[str], name: str, doc: dict[str, Any]) -> None:
    assert runs.find(name, doc) == ["run b"]
    assert runs.close("b") == "run b"
    assert runs.find(name, doc) == []
    assert runs.items() == [("a", "run a")]


@pytest.mark.parametrize("kind", ["resource", "stream_resource"])
def test_a_resource_that_does_not_tell_its_run_is_for_all(runs: OpenRuns[str], kind: str) -> None:
    assert runs.find(kind, {"uid": "shared"}) == ["run a", "run b"]
    runs.close("a")
    assert runs.find("datum", {"resource": "shared"}) == ["run b"]
    runs.close("b")
    assert runs.find("datum", {"resource": "shared"}) == []


def test_what_belongs_to_no_open_run_is_not_remembered(runs: OpenRuns[str]) -> None:
    assert runs.find("descriptor", {"uid": "late", "run_start": "c"}) == []
    assert runs.find("event", {"descriptor": "late"}) == []
    assert runs.find("event", {"descriptor": "never seen"}) == []
    assert runs.close("c") is None


def test_a_run_that_is_opened_twice_stays_what_it_was(runs: OpenRuns[str]) -> None:
    assert runs.open("a", "another") == "run a"
    assert runs.find("event", {"descriptor": "a descriptor"}) == ["run a"]
