"""Frames are found in every kind of document that can speak of them, and read from their files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from speckle_plugin.documents.descriptors import FrameSettings, is_configured_anew
from speckle_plugin.documents.frame_finder import FrameFinder, FrameReference
from speckle_plugin.documents.locations import locate
from speckle_plugin.frames.reader import FrameReadError, read_frames

FRAMES = np.arange(6 * 40 * 50, dtype=np.uint16).reshape(6, 40, 50)


def descriptor(shape: list[int], external: str | None = "FILESTORE:", **configuration: Any) -> dict[str, Any]:
    data_key = {"dtype": "array", "shape": shape, "source": "test", "dtype_numpy": "<u2"}
    return {
        "uid": "d",
        "run_start": "s",
        "name": "primary",
        "data_keys": {"det_image": data_key | ({"external": external} if external else {})},
        "object_keys": {"det": ["det_image"]},
        "configuration": {"det": {"data": configuration}},
    }


def find(
    documents: list[tuple[str, dict[str, Any]]], settings: FrameSettings | None = None
) -> list[FrameReference]:
    finder = FrameFinder(settings or FrameSettings())
    return [reference for name, doc in [*documents, ("stop", {})] for reference in finder(name, doc)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "frames with space.h5"
    with h5py.File(path, "w") as h5:
        h5["/entry/data/data"] = FRAMES
    return path


def event(seq_num: int, value: Any) -> tuple[str, dict[str, Any]]:
    doc = {
        "descriptor": "d",
        "seq_num": seq_num,
        "data": {"det_image": value},
        "timestamps": {"det_image": 1.0},
    }
    return "event", doc | {"uid": str(seq_num), "time": 1.0, "filled": {"det_image": False}}


def test_one_file_per_run_with_point_numbers(file: Path) -> None:
    """AreaDetector's usual way: one Resource, a Datum with point_number for each event."""
    resource = {
        "uid": "r",
        "root": "/",
        "resource_path": str(file)[1:],
        "resource_kwargs": {},
        "spec": "AD_HDF5",
    }
    documents: list[tuple[str, dict[str, Any]]] = [
        ("descriptor", descriptor([2, 40, 50])),
        ("resource", resource),
    ]
    for point in range(3):
        datum = {"datum_id": f"r/{point}", "resource": "r", "datum_kwargs": {"point_number": point}}
        documents += [("datum", datum), event(point + 1, f"r/{point}")]
    references = find(documents)
    assert [r.frame_index for r in references] == [r.index for r in references] == list(range(6))
    assert [r.seq_num for r in references] == [1, 1, 2, 2, 3, 3]
    np.testing.assert_array_equal(np.array(read_frames(references)), FRAMES)


@pytest.mark.parametrize(
    "kwargs", [{"point_number": 4}, {"frame": 4}, {"indices": {"start": 4, "stop": 5}, "point_number": 0}]
)
def test_what_says_where_in_the_file_a_frame_is(file: Path, kwargs: dict[str, Any]) -> None:
    resource = {"uid": "r", "root": "/", "resource_path": str(file)[1:], "resource_kwargs": {}, "spec": "any"}
    datum = {"datum_id": "r/0", "resource": "r", "datum_kwargs": kwargs}
    documents = [("descriptor", descriptor([40, 50])), ("resource", resource), ("datum", datum)]
    (reference,) = find([*documents, event(1, "r/0")])
    np.testing.assert_array_equal(read_frames([reference])[0], FRAMES[4])


def test_a_frame_that_cannot_be_found_keeps_its_place(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    resource = {"uid": "r", "root": "/", "resource_path": str(file)[1:], "resource_kwargs": {}, "spec": "any"}
    documents = [("descriptor", descriptor([40, 50])), ("resource", resource)]
    for seq_num, point in enumerate((0, "second", 2), start=1):
        datum = {"datum_id": f"r/{seq_num}", "resource": "r", "datum_kwargs": {"point_number": point}}
        documents += [("datum", datum), event(seq_num, f"r/{seq_num}")]
    references = find(documents)
    assert [reference.frame_index for reference in references] == [0, 1, 2]
    first, error, third = read_frames(references, patience=0)
    np.testing.assert_array_equal([first, third], FRAMES[[0, 2]])
    assert isinstance(error, FrameReadError)
    assert "flagged as unreadable" in caplog.text


def test_stream_resource_and_stream_datum(file: Path) -> None:
    resource = {
        "uid": "r",
        "data_key": "det_image",
        "uri": file.as_uri(),
        "parameters": {"dataset": "/entry/data/data"},
        "mimetype": "application/x-hdf5",
    }
    datum = {
        "descriptor": "d",
        "stream_resource": "r",
        "indices": {"start": 2, "stop": 5},
        "seq_nums": {"start": 3, "stop": 6},
    }
    documents: list[tuple[str, dict[str, Any]]] = [
        ("descriptor", descriptor([40, 50], "STREAM:")),
        ("stream_resource", resource),
        ("stream_datum", datum),
    ]
    finder = FrameFinder(FrameSettings(), clock=lambda: 7.0)
    references = [reference for name, doc in documents for reference in finder(name, doc)]
    assert [r.seq_num for r in references] == [3, 4, 5]
    np.testing.assert_array_equal(np.array(read_frames(references)), FRAMES[2:5])
    assert [r.timestamp for r in references] == [7.0] * 3  # the time at which the document came
    with h5py.File(file, "r+") as h5:
        h5["/entry/data/timestamps"] = np.arange(6.0)
    resource["parameters"] = {"dataset": "/entry/data/data", "timestamps": "/entry/data/timestamps"}
    references = find(documents)
    read_frames(references)
    assert [r.timestamp for r in references] == [2.0, 3.0, 4.0]


def test_a_run_with_a_file_for_each_exposure_is_not_kept_in_memory(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speckle_plugin.documents.frame_finder.MOST_RESOURCES", 5)
    finder = FrameFinder(FrameSettings(image_keys=("det_image",)))
    two_cameras = descriptor([40, 50])
    two_cameras["data_keys"]["other_image"] = two_cameras["data_keys"]["det_image"]
    list(finder("descriptor", two_cameras))
    found: list[FrameReference] = []
    for i in range(20):
        data: dict[str, Any] = {}
        for key in ("det_image", "other_image"):
            resource = {"root": "/", "resource_path": str(file)[1:], "resource_kwargs": {}, "spec": "AD_HDF5"}
            list(finder("resource", resource | {"uid": f"{key}{i}"}))
            list(finder("datum", {"datum_id": f"{key}{i}/0", "resource": f"{key}{i}", "datum_kwargs": {}}))
            data[key] = f"{key}{i}/0"
        name, doc = event(i + 1, None)
        doc |= {"data": data, "timestamps": dict.fromkeys(data, 1.0), "filled": dict.fromkeys(data, False)}
        found += finder(name, doc)
    assert [reference.path for reference in found] == [str(file)] * 20
    assert finder.remembered == 15


def test_an_event_without_its_datum_is_a_frame_that_cannot_be_read() -> None:
    references = find([("descriptor", descriptor([40, 50])), event(1, "lost")])
    (error,) = read_frames(references, patience=0)
    assert isinstance(error, FrameReadError) and "no Datum" in str(error)


def test_a_late_file_is_waited_for(file: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.h5"
    resource = {"uid": "r", "root": "", "resource_path": str(late), "resource_kwargs": {}, "spec": "AD_HDF5"}
    datum = {"datum_id": "r/0", "resource": "r", "datum_kwargs": {}}
    references = find(
        [("descriptor", descriptor([40, 50])), ("resource", resource), ("datum", datum), event(1, "r/0")]
    )
    (frame,) = read_frames(references, patience=5.0, sleep=lambda _: os.rename(file, late))
    np.testing.assert_array_equal(frame, FRAMES[0])


def test_what_the_detector_says_of_itself() -> None:
    stated: dict[str, Any] = {"det_beam_center": [3.5, 4.0], "det_pitch": 0.5, "det_saturation_level": 1000.0}
    settings = FrameSettings(beam_center=(9.0, 9.0))
    (reference,) = find([("descriptor", descriptor([40, 50], **stated)), event(1, "x")], settings)
    detector = reference.detector
    assert detector.geometry is not None and detector.geometry.beam_center == (3.5, 4.0)
    assert (detector.k_step, detector.saturation_level, detector.center_assumed) == (0.5, 1000.0, False)


@pytest.mark.parametrize(
    ("stated", "center", "is_stated"),
    [
        ({"det_cam_beam_x": 4.0, "det_cam_beam_y": 3.5}, (3.5, 4.0), True),
        ({"det_cam_beam_x": 4.0, "det_cam_beam_y": 3.5, "det_beam_center": [1.0, 2.0]}, (1.0, 2.0), True),
        ({"det_cam_beam_x": 4.0}, (9.0, 9.0), False),
        ({"det_cam_beam_x": "4", "det_cam_beam_y": [3.5]}, (9.0, 9.0), False),
        ({"det_cam_beam_x": float("nan"), "det_cam_beam_y": 3.5}, (9.0, 9.0), False),
    ],
)
def test_a_beam_centre_under_other_names(
    stated: dict[str, Any], center: tuple[float, float], is_stated: bool
) -> None:
    settings = FrameSettings(beam_center=(9.0, 9.0), beam_center_names=("*_beam_y", "*_beam_x"))
    (reference,) = find([("descriptor", descriptor([40, 50], **stated)), event(1, "x")], settings)
    detector = reference.detector
    assert (detector.beam_center, detector.center_stated) == (center, is_stated)
    again = FrameSettings.from_configuration(settings.to_configuration())
    assert again.beam_center_names == settings.beam_center_names


@pytest.mark.parametrize(
    ("stated", "units", "k_step"),
    [
        ({"det_wavelength": 1.5, "det_distance": 5.0, "det_pixel": 75e-6}, {}, 2 * np.pi * 1e-4),
        (
            {"det_wavelength": 0.15, "det_distance": 5000, "det_pixel": 75.0},
            {"det_wavelength": "nm", "det_distance": "mm", "det_pixel": "um"},
            2 * np.pi * 1e-4,
        ),
        ({"det_wavelength": 1.5, "det_distance": 5.0, "det_pixel": 75e-6, "det_pitch": 0.5}, {}, 0.5),
        ({"det_wavelength": 1.5, "det_distance": 0.0, "det_pixel": 75e-6}, {}, 0.7),
        ({"det_wavelength": 1.5, "det_pixel": 75e-6}, {}, 0.7),
        ({"det_wavelength": "1.5", "det_distance": 5.0, "det_pixel": 75e-6}, {}, 0.7),
        (
            {"det_wavelength": 8.0, "det_distance": 5.0, "det_pixel": 75e-6},
            {"det_wavelength": "keV"},
            0.7,
        ),
    ],
)
def test_a_k_step_that_is_worked_out(stated: dict[str, Any], units: dict[str, str], k_step: float) -> None:
    names = ("*_wavelength", "*_distance", "*_pixel")
    settings = FrameSettings(k_step=0.7, k_step_names=names)
    configured = descriptor([40, 50], **stated)
    configured["configuration"]["det"]["data_keys"] = {key: {"units": unit} for key, unit in units.items()}
    (reference,) = find([("descriptor", configured), event(1, "x")], settings)
    assert reference.detector.k_step == pytest.approx(k_step)
    assert reference.detector.k_step_stated is (k_step != 0.7)
    assert FrameSettings.from_configuration(settings.to_configuration()).k_step_names == names


def test_a_beam_centre_under_other_names_that_moved_during_the_run() -> None:
    settings = FrameSettings(beam_center_names=("*_beam_y", "*_beam_x"))
    before = descriptor([40, 50], det_beam_x=4.0, det_beam_y=3.5)
    moved = {"det": {"data": {"det_beam_x": 5.0, "det_beam_y": 3.5}}}
    (key,) = before["data_keys"]
    for configuration, is_anew in ((moved, True), (before["configuration"], False)):
        run = {**before, "_config_updates": [{"configuration": configuration}]}
        assert is_configured_anew(key, run, settings=settings) is is_anew
        assert not is_configured_anew(key, run)


@pytest.mark.parametrize("stated", [[1.0, 2.0], "65535 counts", {}, None, 0])
def test_numbers_that_are_none_are_as_if_not_stated(stated: Any) -> None:
    configuration = {"det_pitch": stated, "det_saturation_level": stated}
    (reference,) = find([("descriptor", descriptor([40, 50], **configuration)), event(1, "x")])
    assert reference.detector.k_step is reference.detector.saturation_level is None


@pytest.mark.parametrize(
    ("shape", "frames", "reason"),
    [
        ([40, 50], 1, ""),
        ([3, 40, 50], 3, ""),
        ([2, 3, 40, 50], 6, ""),
        ([1, 3, 40, 50], 3, ""),
        ([1, 1, 40, 50], 1, ""),
        ([], 0, ""),
        ([50], 0, ""),
        ([1, 50], 0, ""),
        ([0, 40, 50], 0, "no frame in an event"),
        ([40, 50, 0], 0, "(40, 50, 0) is no frame"),
        ([40, 50, 3], 0, "colour image"),
        ([5, 5], 0, "at least 32 rows"),
        ([None, 40, 50], 0, "(None, 40, 50) is not known"),
        (None, 0, "None is not known"),
    ],
)
def test_an_image_is_frames_or_has_a_reason(shape: Any, frames: int, reason: str) -> None:
    finder = FrameFinder(FrameSettings())
    documents = [("descriptor", descriptor(shape)), event(1, "x"), ("stop", {})]
    found = [reference for name, doc in documents for reference in finder(name, doc)]
    assert len(found) == frames
    assert list(finder.left_out) == (["det_image"] if reason else [])
    assert reason in finder.left_out.get("det_image", "")


STREAM_RESOURCE: dict[str, Any] = {"uid": "r", "data_key": "det_image", "mimetype": "application/x-hdf5"}
CLASSIC_RESOURCE: dict[str, Any] = {"uid": "r", "root": "/", "spec": "AD_HDF5"}


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ([2, 40, 50], {}),
        ([2, 1, 40, 50], {}),
        ([1, 2, 40, 50], {}),
        ([40, 50], {"multiplier": 2}),
        ([1, 40, 50], {"multiplier": 2}),
        ([2, 40, 50], {"multiplier": 2, "join_method": "concat"}),
        ([1, 40, 50], {"frame_per_point": 2}),
        ([0, 40, 50], {"frame_per_point": 2}),
    ],
)
@pytest.mark.parametrize("classic", [False, True])
def test_several_frames_of_an_event_by_every_convention(
    file: Path, shape: list[int], parameters: dict[str, Any], classic: bool
) -> None:
    """Three points of two frames each, in one file."""
    documents: list[tuple[str, dict[str, Any]]] = [("descriptor", descriptor(shape))]
    if classic:
        resource = {**CLASSIC_RESOURCE, "resource_path": str(file)[1:], "resource_kwargs": parameters}
        documents.append(("resource", resource))
        for point in range(3):
            datum = {"datum_id": f"r/{point}", "resource": "r", "datum_kwargs": {"point_number": point}}
            documents += [("datum", datum), event(point + 1, f"r/{point}")]
    else:
        resource = {**STREAM_RESOURCE, "uri": file.as_uri(), "parameters": parameters}
        span = {"indices": {"start": 0, "stop": 3}, "seq_nums": {"start": 1, "stop": 4}}
        documents += [
            ("stream_resource", resource),
            ("stream_datum", {"descriptor": "d", "stream_resource": "r", **span}),
        ]
    references = find(documents)
    assert [reference.seq_num for reference in references] == [1, 1, 2, 2, 3, 3]
    np.testing.assert_array_equal(np.array(read_frames(references)), FRAMES)


@pytest.mark.parametrize(
    ("kind", "parameters", "path"),
    [
        ("classic", {"template": "%s%s_%6.6d.h5", "filename": "a%b{c"}, "frames/a%b{c_000004.h5"),
        (
            "classic",
            {"template": "%s%s_%d.tiff", "filename": "scan", "frame_per_point": 2},
            "frames/scan_4.tiff",
        ),
        ("stream", {"template": "/scan_{:06d}.tiff", "chunk_shape": [1, 40, 50]}, "frames/scan_000004.tiff"),
        ("stream", {"template": "scan_{:06d}.tiff", "chunk_shape": (3, 40, 50)}, "frames/scan_000001.tiff"),
    ],
)
def test_a_file_for_each_frame_or_few(kind: str, parameters: dict[str, Any], path: str) -> None:
    if kind == "classic":  # its path has no slash at the end
        resource = {**CLASSIC_RESOURCE, "resource_path": "data/frames", "resource_kwargs": parameters}
    else:
        resource = {**STREAM_RESOURCE, "uri": "file://localhost/data/frames/", "parameters": parameters}
    found, index = locate(resource).find(4)
    assert (found, index) == (f"/data/{path}", 1 if path.endswith("1.tiff") else 0)


def test_a_template_that_is_none() -> None:
    parameters = {"template": "%06d.h5"}
    with pytest.raises(ValueError, match="expected a template such as"):
        locate({**CLASSIC_RESOURCE, "resource_path": "data", "resource_kwargs": parameters})


def datum(number: int) -> tuple[str, dict[str, Any]]:
    return "datum", {"datum_id": f"r/{number}", "resource": "r", "datum_kwargs": {"point_number": number}}


def test_a_datum_that_comes_after_its_event(file: Path) -> None:
    """Its frame has the place of its event, and is found when the Datum comes."""
    resource = {**CLASSIC_RESOURCE, "resource_path": str(file)[1:], "resource_kwargs": {"frame_per_point": 2}}
    documents = [("descriptor", descriptor([2, 40, 50])), ("resource", resource)]
    documents += [datum(0), event(1, "r/0"), event(2, "r/1"), datum(2), event(3, "r/2"), datum(1)]
    references = find(documents)
    assert [reference.seq_num for reference in references] == [1, 1, 3, 3, 2, 2]
    references.sort(key=lambda reference: reference.frame_index)
    np.testing.assert_array_equal(np.array(read_frames(references)), FRAMES)


def test_a_datum_that_two_events_name(file: Path) -> None:
    """Of two streams: each has the frame. Of one stream: it is the same frame."""
    resource = {**CLASSIC_RESOURCE, "resource_path": str(file)[1:], "resource_kwargs": {}}
    again = {**descriptor([40, 50]), "uid": "d2", "name": "again"}
    documents = [
        ("descriptor", descriptor([40, 50])),
        ("descriptor", again),
        ("resource", resource),
        datum(4),
    ]
    name, second = event(1, "r/4")
    references = find([*documents, event(1, "r/4"), (name, {**second, "descriptor": "d2"}), event(2, "r/4")])
    assert [r.detector.image_key for r in references] == ["det_image", "again/det_image"]
    np.testing.assert_array_equal(np.array(read_frames(references)), FRAMES[[4, 4]])


def test_a_value_that_is_no_image_is_a_frame_of_the_wrong_shape() -> None:
    (reference,) = find([("descriptor", descriptor([40, 50], None)), event(1, [1, 2, 3])])
    assert reference.pixels is not None and reference.pixels.shape == (3,)


def test_names_of_ophyd_async() -> None:
    stated: dict[str, Any] = {"det-beam_center": [3.5, 4.0], "det-pitch": 0.5, "det-saturation_level": 1e3}
    (reference,) = find([("descriptor", descriptor([40, 50], **stated)), event(1, "x")])
    detector = reference.detector
    assert detector.geometry is not None and detector.geometry.beam_center == (3.5, 4.0)
    assert (detector.k_step, detector.saturation_level, detector.center_assumed) == (0.5, 1000.0, False)
