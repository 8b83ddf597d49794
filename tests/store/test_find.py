"""Finding runs and frames again by what the network said of them."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speckle_plugin.store import (
    FRAME_COLUMNS,
    RunSaver,
    TiledStore,
    connect,
    find_frames,
    find_runs,
    read_frames,
)
from speckle_plugin.store.read.images import cut_spans
from speckle_plugin.store.read.queries import timestamp
from tests.store.applications import KEY, served_here
from tests.testing import FakeClassifier, documents_of, good

FLAGGED = ("flagged", 0, 0.0, "empty,saturated")
DEFERRED = ("deferred", 0, 0.0, "")


@pytest.fixture(scope="module")
def named() -> dict[str, str]:
    """Uids of the runs of this module, by name; filled by `catalog`."""
    return {}


@pytest.fixture
def catalog(store: TiledStore, named: dict[str, str], measure: Callable[..., str]) -> Any:
    """Three finished runs and an open one, made once, apart from what other modules store."""
    if not named:
        named["sure"] = measure(store, [good(7, 0.95)], where="test_find")
        named["unsure"] = measure(
            store, [good(7, 0.95), good(3, 0.4, "saturated"), FLAGGED], where="test_find", model="poly"
        )
        named["burst"] = measure(
            store,
            [good(5), good(6), DEFERRED],
            positions=(0, 0.5, 1, 1.5),
            frames_per_trigger=2,
            where="test_find",
        )
    from tiled.queries import Key

    return store.runs.search(Key("start.where") == "test_find")


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({}, {"sure", "unsure", "burst"}),
        ({"label": 7}, {"sure", "unsure"}),
        ({"label": np.int64(3)}, {"unsure"}),
        ({"label": 19}, set()),
        ({"max_confidence": 0.5}, {"unsure"}),
        ({"max_confidence": 0.95}, {"unsure", "burst"}),  # less than it, so not the run at 0.95
        ({"max_confidence": 1}, {"sure", "unsure", "burst"}),
        ({"label": 7, "max_confidence": 0.5}, {"unsure"}),
        ({"model": "poly"}, {"unsure"}),
        ({"model": "mono", "model_version": "1"}, {"sure", "burst"}),
        ({"model_version": "2"}, set()),
        ({"flagged": True}, {"unsure"}),
        ({"flagged": False}, {"sure", "burst"}),
        ({"deferred": True}, {"burst"}),
        ({"plan": "list_scan"}, {"sure", "unsure", "burst"}),
        ({"plan": "count"}, set()),
        ({"since": datetime.now() - HOUR, "until": datetime.now() + HOUR}, {"sure", "unsure", "burst"}),
        ({"since": time.time() + 3600}, set()),
        ({"until": "2026-01-01"}, set()),
        ({"since": "2020-01-01 12:00"}, {"sure", "unsure", "burst"}),
    ],
)
def test_find_runs(catalog: Any, named: dict[str, str], arguments: dict[str, Any], found: set[str]) -> None:
    assert set(find_runs(catalog, **arguments)) == {named[name] for name in found}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label": "7"}, "no network gives the label '7'"),
        ({"label": True}, "int such as 7"),
        ({"label": -1}, "no network gives the label -1"),
        ({"max_confidence": 80}, "percent"),
        ({"max_confidence": "high"}, "from 0 to 1"),
        ({"max_confidence": math.nan}, "from 0 to 1"),
        ({"since": "yesterday"}, 'such as "2026-11-22"'),
        ({"since": True}, "seconds since 1970"),
        ({"until": math.inf}, "seconds since 1970"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, "exchange"),
        ({"model": 3}, "by a str"),
    ],
)
def test_nonsense(catalog: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        find_runs(catalog, **arguments)


@pytest.mark.parametrize(
    ("when", "seconds"),
    [
        (12.5, 12.5),
        ("1970-01-02T00:00:00+00:00", 86400),
        (datetime(1970, 1, 2, tzinfo=timezone.utc), 86400),  # noqa: UP017
        (date(2026, 11, 22), datetime(2026, 11, 22).timestamp()),
        ("2026-11-22 14:30", datetime(2026, 11, 22, 14, 30).timestamp()),
    ],
)
def test_timestamp(when: Any, seconds: float) -> None:
    assert timestamp("since", when) == seconds


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        # Run, frame index and label of each frame.
        ({"label": 7}, [("sure", 0, 7), ("sure", 1, 7), ("sure", 2, 7), ("unsure", 0, 7)]),
        ({"max_confidence": 0.5}, [("unsure", 1, 3)]),  # the flagged frame's 0.0 says nothing
        (
            {"label": 7, "min_confidence": 0.9, "positions": {"stage_x": (0.5, 1)}},
            [("sure", 1, 7), ("sure", 2, 7)],
        ),
        ({"flag": "saturated"}, [("unsure", 1, 3), ("unsure", 2, 0)]),
        ({"status": "flagged"}, [("unsure", 2, 0)]),
        ({"status": "deferred"}, [("burst", 2, 0), ("burst", 5, 0)]),
        ({"label": 19}, []),
        ({"image_key": "other_image"}, []),
    ],
)
def test_find_frames(
    catalog: Any, named: dict[str, str], arguments: dict[str, Any], rows: list[tuple[str, int, int]]
) -> None:
    table = find_frames(catalog, **arguments)
    assert list(table.columns)[: len(FRAME_COLUMNS)] == list(FRAME_COLUMNS)
    assert {key: str(kind) for key, kind in table.dtypes.items() if key in FRAME_COLUMNS} == FRAME_COLUMNS
    found = list(zip(table["run_uid"], table["frame_index"], table["disk_number"], strict=True))
    assert found == [(named[name], index, label) for name, index, label in rows]


def test_a_label_search_leaves_out_what_the_network_does_not_know(
    store: TiledStore, measure: Callable[..., str]
) -> None:
    """A detector's ramp gets a label with full confidence, and is flagged."""
    from tiled.queries import Key

    ramp = good(7, 1.0, "out_of_distribution")
    both = measure(store, [good(7), ramp], where="odd")
    measure(store, [ramp], where="odd")
    catalog = store.runs.search(Key("start.where") == "odd")
    assert list(find_runs(catalog, label=7)) == [both]
    assert set(find_frames(catalog, label=7)["flags"]) == {""}
    for asked in ({"with_odd": True}, {"flag": "out_of_distribution"}):
        found = find_frames(catalog, label=7, **asked)
        assert found["run_uid"].nunique() == 2 and "out_of_distribution" in set(found["flags"])


def test_what_else_is_known_of_frames(store: TiledStore, catalog: Any, named: dict[str, str]) -> None:
    run = store.runs[named["burst"]]
    table = find_frames(run)
    assert list(table["frame_index"]) == list(range(8))
    assert list(table["primary_seq_num"]) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert list(table["truth_disk_number"]) == [2, 2, 3, 3, 4, 4, 5, 5]
    assert list(table["stage_x"]) == [0, 0, 0.5, 0.5, 1, 1, 1.5, 1.5]
    assert set(table["scan_id"]) == {run.start["scan_id"]}
    assert list(find_frames([run], label=6)["frame_index"]) == [1, 4, 7]


@pytest.mark.parametrize("shape", ["events", "frames"])
def test_frames_of_bursts(store: TiledStore, named: dict[str, str], catalog: Any, shape: str) -> None:
    run = store.runs[named["burst"]]
    if shape == "frames":  # what Tiled's validation makes of it when a detector does not say frame_per_point
        node = run["primary/det_image"]
        source = node.include_data_sources().data_sources()[0]
        events, frames, *rest = source.structure["shape"]
        source.structure["shape"] = (events * frames, *rest)
        source.structure["chunks"] = ((1,) * (events * frames), *((n,) for n in rest))
        source.structure["dims"] = None
        from tiled.utils import safe_json_dump

        uri = node.uri.replace("/metadata/", "/data_source/", 1)
        node.context.http_client.put(uri, content=safe_json_dump({"data_source": source})).raise_for_status()
        run = store.runs[named["burst"]]
        assert run["primary/det_image"].ndim == 3
    table = find_frames(run, label=6, with_frames=True)
    assert [frame[0, 0] for frame in table["frame"]] == [1, 4, 7]
    assert all(frame.shape == (8, 6) for frame in table["frame"])
    reversed_rows = dict(read_frames(store.runs, table[::-1]))
    assert {label: frame[0, 0] for label, frame in reversed_rows.items()} == {0: 1, 1: 4, 2: 7}


def test_open_runs_are_looked_through(store: TiledStore, measure: Callable[..., str]) -> None:
    counts = []

    def look(saver: Any, name: str, doc: dict[str, Any]) -> None:
        if name == "event":
            saver.flush()
            counts.append(len(find_frames(store.runs.values().last(), label=11)))
            assert len(find_frames(store.runs, label=11)) == counts[-1]

    measure(store, [good(11)], after=look)
    assert counts == [1, 2, 3]


def test_after_a_pause_two_rows_have_one_number(store: TiledStore) -> None:
    """A pause between save and checkpoint gives the sequence numbers 1, 2, 2, 3 for four frames."""
    uid = str(uuid.uuid4())
    classifier = FakeClassifier(RunSaver(store.runs, store.journal_directory), [good(7)])
    for name, doc in documents_of(uid, [1, 2, 2, 3], store.frames_directory):
        classifier(name, doc)
    table = find_frames(store.runs[uid])
    assert list(table["primary_seq_num"]) == [1, 2, 2, 3]
    assert list(table["x"]) == [0, 1, 2, 3]
    assert [frame[0, 0] for _, frame in read_frames(store.runs, table)] == [0, 1, 2, 3]


def test_unknown_position(catalog: Any) -> None:
    with pytest.raises(ValueError, match=r"no run has the positions \['stage_z'\]; there are \['stage_x'"):
        find_frames(catalog, positions={"stage_z": (0, 1)})
    with pytest.raises(ValueError, match=r"must be \(lowest, highest\)"):
        find_frames(catalog, positions={"stage_x": (1, 0)})


def test_frames_that_are_not_there(store: TiledStore, catalog: Any, named: dict[str, str]) -> None:
    table = find_frames(store.runs[named["sure"]])
    table["frame_index"] += 1
    with pytest.raises(ValueError, match="there are 3 frames, none with index 3"):
        list(read_frames(store.runs, table))
    with pytest.raises(ValueError, match="is not among the given ones"):
        list(read_frames(store.runs[named["unsure"]], table))


@pytest.mark.parametrize(
    ("indices", "most", "spans"),
    [
        ([3], 10, [[3]]),
        ([0, 1, 5, 40, 41], 100, [[0, 1, 5], [40, 41]]),
        ([0, 1, 2, 3, 4], 2, [[0, 1], [2, 3], [4]]),
        ([], 5, []),
    ],
)
def test_spans(indices: list[int], most: int, spans: list[list[int]]) -> None:
    assert [list(span) for span in cut_spans(np.array(indices, dtype=np.int64), most)] == spans


def test_only_the_files_that_are_asked_for_are_opened(
    data_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the server in this process, where the files that it opens can be counted."""
    from speckle_plugin.store.server import frame_files

    opened = []
    h5open = vars(frame_files)["h5open"]

    def spy(path: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(path)
        return h5open(path, *arguments, **options)

    monkeypatch.setattr(frame_files, "h5open", spy)
    with served_here(data_directory) as uri, connect(uri, KEY, directory=data_directory) as here:
        uid = str(uuid.uuid4())
        saver = RunSaver(here.runs, here.journal_directory)
        for name, doc in documents_of(uid, [1, 2, 3], here.frames_directory):
            saver(name, doc)
        image = here.runs[uid]["primary/det_image"]
        assert image[2, 0, 0] == 2
    assert len(opened) == 2  # the first, for the shape, and the third


def test_files_of_other_shapes_are_refused(store: TiledStore) -> None:
    """Files that are not alike are not read at all, never wrongly."""
    import h5py
    from httpx import HTTPStatusError

    uid = str(uuid.uuid4())
    saver = RunSaver(store.runs, store.journal_directory)
    for name, doc in documents_of(uid, [1, 2, 3], store.frames_directory):
        saver(name, doc)
    with h5py.File(store.frames_directory / f"{uid}-1.h5", "w") as file:
        file["/entry/data/data"] = np.zeros((2, 8, 6), dtype="<f4")
    image = store.runs[uid]["primary/det_image"]
    assert image[2, 0, 0] == 2
    with pytest.raises(HTTPStatusError, match="must hold equally many frames of one shape"):
        image[1]
