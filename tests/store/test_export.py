"""What was found, as an xarray Dataset and as files that other programs open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from dask.base import is_dask_collection
from silx.io.nxdata.parse import get_default
from silx.io.utils import open as open_file

from speckle_plugin.store import TiledStore, export_table, find_frames, frames_to_xarray
from tests.testing import good
from tests.testing.camera import COLUMNS, ROWS

RESULTS = [good(7, 0.95), good(3, 0.4, "saturated"), ("flagged", 0, 0.0, "empty")]


@pytest.fixture(scope="module")
def uids() -> list[str]:
    """Uids of two runs that are measured once."""
    return []


@pytest.fixture
def runs(store: TiledStore, measure: Callable[..., str], uids: list[str]) -> list[Any]:
    if not uids:
        uids += [measure(store, RESULTS), measure(store, RESULTS, frames_per_trigger=2)]
    return [store.runs[uid] for uid in uids]


def test_frames_are_read_when_they_are_computed(runs: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speckle_plugin.store.read.xarrays.BYTES_IN_A_CHUNK", 2 * 4 * ROWS * COLUMNS)
    table = find_frames(runs).sort_values("disk_number", ascending=False)
    dataset = frames_to_xarray(runs, table)
    frames = dataset["frames"]
    assert is_dask_collection(frames.data)
    assert frames.dims == ("frame", "row", "column") and frames.shape == (9, ROWS, COLUMNS)
    assert max(frames.data.chunks[0]) == 2
    # All pixels of frame i are i.
    assert frames[:, 0, 0].to_numpy().tolist() == table["frame_index"].tolist()
    assert frames["frame"].to_numpy().tolist() == table.index.tolist()
    for name in set(table.columns) - {"time"}:
        np.testing.assert_array_equal(dataset[name], table[name].to_numpy(dataset[name].dtype))
    assert dataset["disk_number"].to_numpy().tolist() == [7] * 3 + [3] * 3 + [0] * 3
    assert (abs(dataset["time"].to_numpy() - np.datetime64("now")) < np.timedelta64(1, "h")).all()
    sevens = dataset.where(dataset["disk_number"] == 7, drop=True)
    assert sevens["frames"][:, 3, 3].to_numpy().tolist() == [0, 0, 3]
    mean = frames.groupby("run_uid").mean("frame")
    assert sorted(mean[:, 0, 0].to_numpy()) == [1.0, 2.5]


def test_what_cannot_stand_in_one_array(runs: list[Any], store: TiledStore) -> None:
    table = find_frames(runs)
    with pytest.raises(ValueError, match="the table has no rows"):
        frames_to_xarray(runs, table[:0])
    with pytest.raises(ValueError, match="there are 3 frames, none with index 7"):
        frames_to_xarray(runs, table[:1].assign(frame_index=7))
    with pytest.raises(ValueError, match="is not among the given ones"):
        frames_to_xarray(runs[0], table)


def test_a_position_with_the_name_of_a_dimension(runs: list[Any]) -> None:
    dataset = frames_to_xarray(runs, find_frames(runs).rename(columns={"stage_x": "row"}))
    assert dataset["row_"].dims == ("frame",)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables(runs: list[Any], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"frames{suffix}"
    table = find_frames(runs, with_frames=True)
    export_table(table, path)
    read = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    expected = table.drop(columns="frame")
    if suffix == ".csv":  # where an empty text is as a number that is missing
        texts = [name for name in expected.columns if expected[name].dtype == "str"]
        read[texts] = read[texts].astype("str").fillna("")
    assert list(read.columns) == list(expected.columns)
    if suffix == ".parquet":
        pd.testing.assert_frame_equal(read, expected)
    else:
        pd.testing.assert_frame_equal(read, expected, check_dtype=False)


@pytest.mark.parametrize("suffix", [".h5", ".nxs"])
def test_viewers_open_an_hdf5_file_at_the_frames(runs: list[Any], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"frames{suffix}"
    table = find_frames(runs).sort_values("disk_number")
    export_table(table, path, runs)
    with open_file(str(path)) as opened:
        shown: Any = get_default(opened)
        assert shown.is_valid and shown.signal_name == "frames" and shown.interpretation == "image"
        assert shown.signal.shape == (9, ROWS, COLUMNS)
        assert shown.group.name == "/entry/det_image"
    with h5py.File(path) as file:
        group = file[file.attrs["default"]][file["entry"].attrs["default"]]  # as the attributes lead
        assert [file.attrs["NX_class"], file["entry"].attrs["NX_class"], group.attrs["NX_class"]] == [
            "NXroot",
            "NXentry",
            "NXdata",
        ]
        assert group["frames"][:, 0, 0].tolist() == table["frame_index"].tolist()
        assert group["frames"].chunks == (1, ROWS, COLUMNS)
        assert set(group) == {"frames", *table.columns}
        for name in ("disk_number", "confidence", "stage_x", "truth_disk_number"):
            assert group[name][:].tolist() == table[name].tolist()
        assert group["run_uid"].asstr()[:].tolist() == table["run_uid"].tolist()


def test_two_cameras_are_two_groups(runs: list[Any], tmp_path: Path, store: TiledStore) -> None:
    table = find_frames(runs[0])
    # The same frames under a name of an older version and of now.
    both = pd.concat([table, table.assign(image_key="primary/det_image")])
    export_table(both, tmp_path / "frames.h5", iter(runs))
    with h5py.File(tmp_path / "frames.h5") as file:
        assert set(file["entry"]) == {"det_image", "primary_det_image"}
        assert file["entry/primary_det_image/frames"][:, 0, 0].tolist() == [0, 1, 2]


def test_what_cannot_be_written(runs: list[Any], tmp_path: Path) -> None:
    table = find_frames(runs)
    with pytest.raises(ValueError, match=r"must end with one of \.csv, \.parquet, \.h5"):
        export_table(table, tmp_path / "frames.txt", runs)
    with pytest.raises(ValueError, match="the table has no rows"):
        export_table(table[:0], tmp_path / "frames.h5", runs)
    assert not list(tmp_path.iterdir())
