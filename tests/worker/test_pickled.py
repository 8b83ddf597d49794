"""Documents from a 0MQ proxy are pickles of anybody who reaches it: they are read, and run nothing."""

from __future__ import annotations

import datetime
import enum
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speckle_plugin.worker.pickled import read_document


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._path),)


class Mode(enum.StrEnum):
    STEP = "step"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_documents_are_read_as_they_were(protocol: int) -> None:
    document = {
        "uid": "a",
        "time": np.float64(1.5),
        "data": {"frame": np.arange(12, dtype="<u4").reshape(3, 4), "n": np.int64(3), "flag": np.bool_(True)},
        "when": datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC),
        "names": {"a", "b"},
        "texts": np.array(["x", "yz"]),
        "parts": np.arange(12.0).reshape(3, 4)[:, ::2],
        "amplitude": 1 + 2j,
    }
    again = read_document(pickle.dumps(document, protocol))
    np.testing.assert_equal(again, document)
    assert again["data"]["frame"].dtype == np.dtype("<u4") and isinstance(again["data"]["n"], np.int64)


def test_enums_of_other_packages_are_their_values() -> None:
    assert read_document(pickle.dumps({"mode": Mode.STEP})) == {"mode": "step"}


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    place = tmp_path / "made"
    content = pickle.dumps({"uid": Bomb(place)})
    pickle.loads(content)
    assert place.is_dir(), "it would"
    place.rmdir()
    assert read_document(content) == {"uid": str(place)}
    assert not place.exists()
    nested = pickle.dumps({"a": np.array([Bomb(place)], dtype=object)})
    read_document(nested)
    assert not place.exists()


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1]), pickle.dumps({"a": 1})[:-3]])
def test_what_is_no_document(content: bytes) -> None:
    with pytest.raises(ValueError, match="document"):
        read_document(content)
