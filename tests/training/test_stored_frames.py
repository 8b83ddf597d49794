"""Labelled frames out of a real store, and their split by run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine

from simulated_devices import DetectorResponse, centered
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.store import TiledStore, find_frames
from speckle_plugin.store.read import images
from tests.testing.stored_runs import measure
from training import stored_frames
from training.run_split import join_groups, split_by_run, together
from training.stored_frames import LabelledFrame, LabelledFrames, frames_of_labels, frames_of_truth


@pytest.fixture(scope="module")
def named() -> dict[str, str]:
    """Uids of the runs, by name; filled by `catalog`."""
    return {}


@pytest.fixture
def catalog(store: TiledStore, named: dict[str, str], run_engine: RunEngine) -> Any:
    if not named:
        named["corner"] = measure(run_engine, store, 6, seed=1)
        named["middle"] = measure(run_engine, store, 3, seed=2, grid=centered(65))
        named["dark"] = measure(run_engine, store, 3, seed=3, response=DetectorResponse(photons=1e-6))
        named["raw"] = measure(run_engine, store, 4, seed=4, classified=False)
    return store.runs


def test_the_truth_of_runs(catalog: Any, named: dict[str, str]) -> None:
    labelled = frames_of_truth(catalog)
    # The dark run's frames are empty, and the raw one has no results.
    assert labelled.run_uids == (named["corner"], named["middle"])
    assert [f.disk_number for f in labelled.frames] == [2, 2, 7, 7, 20, 20, 2, 7, 20]
    assert [f.frame_index for f in labelled.frames] == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert labelled.disk_numbers == {2: 3, 7: 3, 20: 3}
    assert labelled.left_out == 3
    assert {f.geometry.beam_center for f in labelled.frames[:6]} == {(0.0, 0.0)}
    assert {f.geometry.beam_center for f in labelled.frames[6:]} == {(32.0, 32.0)}
    assert {f.k_step for f in labelled.frames} == {np.pi / 2000}
    assert not any(f.center_assumed for f in labelled.frames)


@pytest.mark.parametrize("kept", [1 << 30, 0], ids=["kept", "in blocks of two"])
def test_frames_are_read_in_any_order(
    catalog: Any, named: dict[str, str], monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(stored_frames, "KEPT_BYTES", kept)
    monkeypatch.setattr(stored_frames, "BLOCK_BYTES", 2 * 4 * 65 * 65)
    labelled = frames_of_truth(catalog)
    order = [8, 0, 3, 7, 3]
    drawn = list(labelled.read(order))
    wanted = {uid: catalog[uid].primary["det_image"].read() for uid in labelled.run_uids}
    for position, (frame, geometry, disk_number) in zip(order, drawn, strict=True):
        at = labelled.frames[position]
        assert np.array_equal(frame, wanted[at.run_uid][at.frame_index])
        assert (geometry, disk_number) == (at.geometry, at.disk_number)
    assert [d.disk_number for d in labelled.select([8, 0]).read()] == [20, 2]


def test_a_mask_goes_with_every_frame_and_must_fit(catalog: Any, named: dict[str, str]) -> None:
    mask = np.zeros((65, 65), bool)
    mask[3] = True
    masks = [f.geometry.mask for f in frames_of_truth(catalog, mask).frames]
    assert len(masks) == 9 and all(found is not None and np.array_equal(found, mask) for found in masks)
    with pytest.raises(ValueError, match=f"of the run {named['corner']}.*mask has the shape"):
        frames_of_truth(catalog, mask[:60])


def test_a_run_in_which_the_detector_was_configured_anew_is_refused(
    catalog: Any, named: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "is_configured_anew", lambda *arguments: True)
    with pytest.raises(ValueError, match=f"configured anew during the run {named['corner']}"):
        frames_of_truth(catalog)


def test_labels_from_a_file(catalog: Any, named: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        f"run_uid,frame_index,disk_number,remark\n{named['raw']},3,20,seen\n{named['corner']},0,7,corrected\n"
    )
    labelled = frames_of_labels(catalog, path)
    assert [(f.run_uid, f.image_key, f.frame_index, f.disk_number) for f in labelled.frames] == [
        (named["raw"], "det_image", 3, 20),
        (named["corner"], "det_image", 0, 7),
    ]
    assert labelled.left_out == 8
    (frame, _, _), _ = labelled.read()
    assert np.array_equal(frame, catalog[named["raw"]].primary["det_image"].read()[3])


def test_the_table_of_speckle_query_is_a_file_of_labels(catalog: Any, tmp_path: Path) -> None:
    path = tmp_path / "frames.csv"
    found = find_frames(catalog, status="classified")
    found.assign(disk_number=found["truth_disk_number"]).to_csv(path, index=False)
    given, truth = frames_of_labels(catalog, path), frames_of_truth(catalog)
    assert [vars(f) | {"geometry": 0} for f in given.frames] == [
        vars(f) | {"geometry": 0} for f in truth.frames
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run_uid,disk_number\n", "lacks the columns frame_index; it has run_uid, disk_number"),
        ("", "lacks the columns run_uid, frame_index, disk_number; it has none"),
        ("run_uid,frame_index,disk_number\n", "holds no labels"),
        (
            "run_uid,frame_index,disk_number\nCORNER,0,many\n",
            "line 2: .*must be integers, not '0' and 'many'",
        ),
        ("run_uid,frame_index,disk_number\nCORNER,0\n", "must be integers, not '0' and None"),
        ("run_uid,frame_index,disk_number\nabcd,0,2\n", "not among the 4 that the query finds: abcd"),
        ("run_uid,frame_index,disk_number\nCORNER,0,2\nCORNER,6,2\n", "line 3: .*frames 0 to 5"),
        ("run_uid,frame_index,disk_number\nCORNER,-1,2\n", "none with the index -1"),
        ("run_uid,frame_index,disk_number\nCORNER,0,2\nCORNER,0,7\n", "line 3: .*has a label already"),
        ("run_uid,frame_index,disk_number,image_key\nCORNER,0,2,cam\n", "no images 'cam', only det_image"),
    ],
)
def test_bad_files_of_labels(
    catalog: Any, named: dict[str, str], tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text.replace("CORNER", named["corner"]))
    with pytest.raises(ValueError, match=message):
        frames_of_labels(catalog, path)


def test_queries_without_frames(catalog: Any, named: dict[str, str]) -> None:
    from tiled.queries import Key

    with pytest.raises(ValueError, match="the query finds no runs"):
        frames_of_truth(catalog.search(Key("start.scan_id") == 99))
    with pytest.raises(ValueError, match="none of them with a recorded disk number"):
        frames_of_truth(catalog.search(Key("start.uid") == named["raw"]))


def _labelled(*runs: list[int]) -> LabelledFrames:
    """Give frames of runs with these disk numbers, which can't be read."""
    geometry = FrameGeometry((65, 65))
    frames = [
        LabelledFrame(f"run{i}", "det_image", j, n, geometry)
        for i, numbers in enumerate(runs)
        for j, n in enumerate(numbers)
    ]
    return LabelledFrames({}, tuple(frames))


@pytest.mark.parametrize("seed", range(5))
def test_no_run_stands_on_both_sides(seed: int) -> None:
    labelled = _labelled(*([[2, 7, 20]] * 10))
    sides = split_by_run(labelled, 0.2, seed)
    assert [len(side) for side in sides] == [24, 6]
    assert set(sides[0].run_uids) | set(sides[1].run_uids) == set(labelled.run_uids)
    assert not set(sides[0].run_uids) & set(sides[1].run_uids)
    assert sides[1].run_uids == split_by_run(labelled, 0.2, seed)[1].run_uids


def test_splits_depend_on_the_seed() -> None:
    labelled = _labelled(*([[2, 7, 20]] * 10))
    assert len({split_by_run(labelled, 0.2, seed)[1].run_uids for seed in range(5)}) > 1


@pytest.mark.parametrize("seed", range(5))
def test_a_split_keeps_every_disk_number_in_training(seed: int) -> None:
    # Each run shows one disk number, and the first is the only one with 20.
    train_side, held_out = split_by_run(_labelled([20], [2] * 9, [2], [7] * 5, [7], [2]), 0.1, seed)
    assert set(train_side.disk_numbers) == {2, 7, 20}
    assert set(held_out.disk_numbers) == {2, 7}


def test_scans_of_the_same_disks_stay_on_one_side(tmp_path: Path, run_engine: RunEngine) -> None:
    with TiledStore(tmp_path / "data") as store:
        first, other, again = (measure(run_engine, store, 6, seed=seed) for seed in (1, 2, 1))
        labelled = frames_of_truth(store.runs)
        groups = together(labelled)
        assert sorted(map(sorted, groups)) == sorted([sorted([first, again]), [other]])
        for seed in range(5):
            train_side, held_out = split_by_run(labelled, 0.3, seed, groups=groups)
            assert set(train_side.run_uids) == {first, again} and held_out.run_uids == (other,)
        twins = labelled.select([i for i, f in enumerate(labelled.frames) if f.run_uid != other])
        with pytest.raises(ValueError, match="the 2 runs show the same disks"):
            split_by_run(twins, 0.5, 0, groups=together(twins))


def test_groups_are_joined_over_others() -> None:
    seen = {"a": {1}, "b": {2}, "c": {1, 2}, "d": {3}, "e": set(), "f": set()}
    assert sorted(map(sorted, join_groups(seen))) == [["a", "b", "c"], ["d"], ["e"], ["f"]]


def test_runs_of_the_parent_are_not_held_out() -> None:
    labelled = _labelled([2, 7], [2, 7], [2, 7])
    for seed in range(5):
        assert split_by_run(labelled, 0.6, seed, ["run0", "run2"])[1].run_uids == ("run1",)
    with pytest.raises(ValueError, match="trained on all 3 runs already"):
        split_by_run(labelled, 0.5, 0, labelled.run_uids)
    with pytest.raises(ValueError, match="trained on all 3 runs already"):
        split_by_run(labelled, 0.5, 0, ["run0", "run2"], groups=[("run0", "run1"), ("run2",)])


def test_what_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="12 labelled frames are of 1 run: at least two"):
        split_by_run(_labelled([2, 7] * 6), 0.2, 0)
    with pytest.raises(ValueError, match=r"between 0 and 1, not 1\.0"):
        split_by_run(_labelled([2], [7]), 1.0, 0)
