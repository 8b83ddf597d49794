"""Files that the catalog is told of in bulk."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tiled.client.utils import ClientError, handle_error

from speckle_plugin.store import RunSaver, TiledStore
from speckle_plugin.store.connection import open_runs
from tests.store.applications import KEY, served_here
from tests.testing import documents_of


@pytest.fixture
def image(store: TiledStore) -> Any:
    return image_of(store.runs, store.frames_directory.parent)


def image_of(runs: Any, directory: Path) -> Any:
    """Give the client of the images of a run of three files."""
    uid = str(uuid.uuid4())
    saver = RunSaver(runs, directory / "journal")
    for name, doc in documents_of(uid, [1, 2, 3], directory / "frames"):
        saver(name, doc)
    return runs[uid]["primary/det_image"]


def put(image: Any, *, source_id: int | None = None, assets: list[dict[str, Any]]) -> None:
    """Tell the server of files, in the way that the client of bluesky-tiled-plugins does."""
    source = asdict(image.data_sources()[0]) | {"assets": assets}
    source["structure"] = image.structure().__dict__ | {"data_type": asdict(image.structure().data_type)}
    if source_id is not None:
        source["id"] = source_id
    address = image.uri.replace("/metadata/", "/data_source/", 1)
    handle_error(image.context.http_client.put(address, json={"data_source": source}))


def asset(uri: str, num: int) -> dict[str, Any]:
    return {"data_uri": uri, "is_directory": False, "parameter": "data_uris", "num": num}


def files_of(image: Any) -> list[tuple[int, str]]:
    image = image.refresh()
    return [(one.num, one.data_uri) for one in image.data_sources()[0].assets]


def test_new_and_known_ones(image: Any) -> None:
    """Files that are there already stay as they are, also if they are named again, twice even."""
    before = files_of(image)
    folder = before[0][1].rpartition("/")[0]
    new = [(num, f"{folder}/{uuid.uuid4()}.h5") for num in range(4, 2504)]
    put(image, assets=[asset(uri, num) for num, uri in [before[1], *new, new[5]]])
    assert files_of(image) == [*before, *new]


def test_frames_stay_readable_when_the_structure_lags_behind(image: Any) -> None:
    before = files_of(image)
    folder = before[0][1].rpartition("/")[0]
    put(image, assets=[asset(f"{folder}/not-yet-counted.h5", 4)])
    assert image.refresh()[:, 0, 0].tolist() == [0, 1, 2]


def test_many_files_take_few_queries(data_directory: Path) -> None:
    """With the application in this process, where its queries can be counted."""
    with served_here(data_directory) as uri:
        runs = open_runs(uri, KEY, trust_env=False)
        try:
            count_queries(image_of(runs, data_directory))
        finally:
            runs.context.http_client.close()


def count_queries(image: Any) -> None:
    folder = files_of(image)[0][1].rpartition("/")[0]
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        put(image, assets=[asset(f"{folder}/{uuid.uuid4()}.h5", num) for num in range(4, 104)])
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert 0 < len(statements) < 40


def test_a_source_that_is_not_there(image: Any) -> None:
    before = files_of(image)
    with pytest.raises(ClientError, match="404"):
        put(image, source_id=10**6, assets=[asset(before[0][1] + ".new", 4)])
    assert files_of(image) == before
