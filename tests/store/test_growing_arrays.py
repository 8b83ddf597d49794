"""Arrays that grow between the two requests of a client that reads them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from speckle_plugin.store import RunSaver, TiledStore
from tests.testing import documents_of


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda image: image.read()[:, 0, 0], [0, 1]),
        (lambda image: image[:, 0, 0], [0, 1]),
        (lambda image: image[1:, 0, 0], [1]),
        (lambda image: image[0, 0, :2], [0, 0]),
    ],
)
def test_a_client_gets_the_frames_that_it_knows_of(
    store: TiledStore, read: Callable[[Any], Any], expected: list[int]
) -> None:
    uid = str(uuid.uuid4())
    saver = RunSaver(store.runs, store.journal_directory)
    documents = iter(documents_of(uid, [1, 2, 3, 4], store.frames_directory))
    events = 0
    for name, doc in documents:
        saver(name, doc)
        events += name == "event"
        if events == 2:
            break
    saver.flush()
    image = store.runs[uid]["primary/det_image"]
    assert image.shape[0] == 2
    for name, doc in documents:
        saver(name, doc)
    assert np.asarray(read(image)).tolist() == expected
    assert len(image.refresh().read()) == 4


def test_an_array_that_is_shorter_stays_an_error(store: TiledStore) -> None:
    image = store.runs.create_container(str(uuid.uuid4())).write_array(np.zeros((3, 2)))
    address = image.uri.replace("/metadata/", "/array/full/", 1)
    answer = image.context.http_client.get(address, params={"expected_shape": "5,2"})
    assert answer.status_code == 500
