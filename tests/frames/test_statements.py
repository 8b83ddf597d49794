"""What detectors and programs say of frames: masks, beam centre, k step, saturation, orientation."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage
from fabio.fit2dmaskimage import Fit2dMaskImage

from speckle_plugin.documents.descriptors import FrameSettings, describe_detector
from speckle_plugin.frames.files import open_frames
from speckle_plugin.frames.geometry_file import read_geometry
from speckle_plugin.frames.masks import looks_inverted, read_mask
from speckle_plugin.frames.source import Statements
from speckle_plugin.frames.stated import with_statements
from speckle_plugin.preprocessing.orientation import ORIENTATIONS, Orientation

from .writers import DATA, FRAMES, hdf5

MASK = np.zeros((40, 50), bool)
MASK[3, 7:20] = MASK[30:] = True


def nexus(path: Path, **changes: Any) -> Path:
    """An Eiger's master, frames and all: wavelength 1.5 angstrom, 2 m, pixels of 75 micrometres."""
    values = {
        "beam_center_x": (24.5, "pixel"),
        "beam_center_y": (19.0, "pixel"),
        "x_pixel_size": (75e-6, "m"),
        "y_pixel_size": (75e-6, "m"),
        "detector_distance": (2.0, "m"),
        "wavelength": (1.5, "angstrom"),
        "saturation_value": (60000, ""),
    } | changes
    with h5py.File(path, "w") as file:
        file[DATA] = FRAMES
        detector = file.create_group("entry/instrument/detector")
        for name, kind in (("entry", "NXentry"), ("entry/instrument", "NXinstrument")):
            file[name].attrs["NX_class"] = kind
        detector.attrs["NX_class"] = "NXdetector"
        detector["detectorSpecific/pixel_mask"] = MASK.astype(np.uint32) * 4
        for name, (value, unit) in values.items():
            where = (
                "entry/instrument/beam/incident_wavelength"
                if name == "wavelength"
                else f"{detector.name}/{name}"
            )
            if value is not None:
                file[where] = value
                file[where].attrs["units"] = unit
    return path


def test_documents_before_files_before_settings() -> None:
    def detector(k_step: float | None, stated: float | None) -> Any:
        configuration = {} if stated is None else {"det": {"data": {"det_pitch": stated}}}
        descriptor = {
            "data_keys": {"det_image": {"shape": [40, 50], "object_name": "det"}},
            "configuration": configuration,
        }
        return describe_detector("det_image", descriptor, FrameSettings(k_step=k_step))

    for of_settings, of_file, of_documents, wanted in (
        (1.0, None, None, 1.0),
        (1.0, 2.0, None, 2.0),
        (1.0, 2.0, 3.0, 3.0),
        (None, None, None, None),
    ):
        found, _ = with_statements(detector(of_settings, of_documents), Statements(k_step=of_file))
        assert found.k_step == wanted


K_STEP = 2 * math.pi / 0.15 * 75e-6 / 2.0
"""In 1/nm."""


def test_a_master_says_all_of_it(tmp_path: Path) -> None:
    stated = open_frames(nexus(tmp_path / "m.h5")).statements
    assert stated.beam_center == (19.0, 24.5)
    assert stated.k_step == pytest.approx(K_STEP)
    assert stated.saturation_level == 60000
    assert stated.mask is not None
    np.testing.assert_array_equal(stated.mask, MASK)


@pytest.mark.parametrize(
    ("reason", "changes", "center", "k_step"),
    [
        (
            "lengths in other units",
            {"detector_distance": (2000.0, "mm"), "wavelength": (0.15, "nm")},
            (19.0, 24.5),
            K_STEP,
        ),
        ("a beam centre as a length", {"beam_center_x": (24.5 * 0.075, "mm")}, (19.0, 24.5), K_STEP),
        ("an Eiger that was not told", {"beam_center_x": (0, ""), "beam_center_y": (0, "")}, None, K_STEP),
        ("half of a centre", {"beam_center_y": (None, "")}, None, K_STEP),
        ("no number", {"beam_center_y": (np.nan, "pixel")}, None, K_STEP),
        ("one for each frame, all alike", {"wavelength": ([1.5] * 6, "angstrom")}, (19.0, 24.5), K_STEP),
        ("one for each frame, unlike", {"wavelength": (np.arange(6) + 1.0, "angstrom")}, (19.0, 24.5), None),
        ("no distance", {"detector_distance": (0.0, "m")}, (19.0, 24.5), None),
        ("pixels that are no squares", {"x_pixel_size": (50e-6, "m")}, (19.0, 24.5), None),
        ("a unit that is none of length", {"wavelength": (8.0, "keV")}, (19.0, 24.5), None),
    ],
)
def test_what_nexus_says_or_does_not(
    reason: str, changes: dict[str, Any], center: Any, k_step: float | None, tmp_path: Path
) -> None:
    stated = open_frames(nexus(tmp_path / "m.h5", **changes)).statements
    assert stated.beam_center == (None if center is None else pytest.approx(center))
    assert stated.k_step == (None if k_step is None else pytest.approx(k_step))


def test_the_header_of_a_pilatus(tmp_path: Path) -> None:
    header = (
        "# Detector: PILATUS\n# Pixel_size 172e-6 m x 172e-6 m\n# Count_cutoff 1048500 counts\n"
        "# Wavelength 0.9000 A\n# Detector_distance 2.5 m\n# Beam_xy (24.50, 19.00) pixels\n"
    )
    image = CbfImage(data=FRAMES[0].astype(np.int32), header={"_array_data.header_contents": header})
    image.write(str(tmp_path / "p.cbf"))
    stated = open_frames(tmp_path / "p.cbf").statements
    assert stated.beam_center == (19.0, 24.5)
    assert stated.k_step == pytest.approx(2 * math.pi / 0.09 * 172e-6 / 2.5)
    assert stated.saturation_level == 1048500


PONI = """# Calibration
poni_version: 2.1
Detector: Detector
Detector_config: {"pixel1": 0.0001, "pixel2": 0.00011, "orientation": 3}
Distance: 0.7
Poni1: 0.03
Poni2: 0.05
Rot1: 0.05
Rot2: -0.08
Rot3: 0.3
Wavelength: 1e-10
"""

CONFIGURATION = '{"pixel1": 0.0001, "pixel2": 0.00011, "orientation": 3}'

STRAIGHT = PONI.replace("0.00011", "0.0001").replace("Rot1: 0.05\nRot2: -0.08", "Rot1: 0\nRot2: 0")


def test_a_poni_of_a_tilted_detector(tmp_path: Path) -> None:
    """By getFit2D of pyFAI 2026.9 the beam is at x = 136.098, y = -261.900, from the corner of the pixel."""
    (tmp_path / "g.poni").write_text(PONI)
    stated = read_geometry(tmp_path / "g.poni")
    assert stated.beam_center == pytest.approx((-261.9 - 0.5, 136.098 - 0.5), abs=1e-3)
    assert stated.k_step is None  # the pixels are no squares
    (tmp_path / "s.poni").write_text(STRAIGHT)
    straight = read_geometry(tmp_path / "s.poni")
    assert straight.beam_center == pytest.approx((299.5, 499.5))
    assert straight.k_step == pytest.approx(2 * math.pi / 0.1 * 1e-4 / 0.7)


def test_the_poni_of_old(tmp_path: Path) -> None:
    (tmp_path / "o.poni").write_text(
        "PixelSize1: 1e-4\nPixelSize2: 1e-4\nDistance: 1\nPoni1: 0.01\nPoni2: 0.02\n"
    )
    assert read_geometry(tmp_path / "o.poni").beam_center == pytest.approx((99.5, 199.5))


def test_geometry_of_nexus(tmp_path: Path) -> None:
    assert read_geometry(nexus(tmp_path / "m.h5")).beam_center == (19.0, 24.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Distance: 1\n", "no PONI file with Distance"),
        (
            PONI.replace(CONFIGURATION, "{}"),
            "known to pyFAI only",
        ),
        (PONI.replace('"orientation": 3', '"orientation": 1'), "another orientation"),
        (PONI.replace("Distance: 0.7", "Distance: far"), "far"),
        (PONI.replace("Distance: 0.7", "Distance: -1"), "must be positive"),
        ("\x00\x01", "nor a NeXus file"),
    ],
)
def test_geometry_that_cannot_be_read(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.poni").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_geometry(tmp_path / "bad.poni")
    with pytest.raises(ValueError, match="holds no beam_center_x"):
        read_geometry(hdf5(tmp_path / "no.h5"))
    with pytest.raises(ValueError, match="no file"):
        read_geometry(tmp_path / "missing.poni")


def _fabio(kind: Any, name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        kind(data=MASK.astype(np.uint8)).write(str(folder / name))
        return folder / name

    return write


def _tiff(folder: Path) -> Path:
    tifffile.imwrite(folder / "m.tif", MASK.astype(np.uint8) * 255)
    return folder / "m.tif"


def _npy(folder: Path) -> Path:
    np.save(folder / "m.npy", MASK.astype(np.int8))
    return folder / "m.npy"


def _float_npy(folder: Path) -> Path:
    np.save(folder / "m.npy", MASK.astype(np.float32))
    return folder / "m.npy"


def _npz(folder: Path) -> Path:
    np.savez(folder / "m.npz", mask=MASK, other=1)
    return folder / "m.npz"


def _msk(folder: Path) -> Path:
    """Fit2D's format, by hand: fabio only reads it."""
    head = np.zeros(256, "<i4")
    head[:6] = [ord("M"), ord("A"), ord("S"), ord("K"), 50, 40]
    bits = np.zeros((40, 64), np.uint8)
    bits[:, :50] = MASK
    (folder / "m.msk").write_bytes(head.tobytes() + np.packbits(bits, axis=1, bitorder="little").tobytes())
    assert Fit2dMaskImage().read(str(folder / "m.msk")).data.shape == MASK.shape
    return folder / "m.msk"


@pytest.mark.parametrize(
    "write",
    [
        _npy,
        _float_npy,
        _npz,
        _tiff,
        _msk,
        _fabio(EdfImage, "pyfai.edf"),
        lambda folder: hdf5(folder / "m.h5", "any/name", MASK),
        lambda folder: nexus(folder / "m.h5"),
    ],
    ids=["npy", "float", "npz", "tiff of 0 and 255", "fit2d", "edf of pyFAI", "hdf5 of silx", "master"],
)
def test_masks_of_every_program(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path)
    np.testing.assert_array_equal(read_mask(path), MASK)
    np.testing.assert_array_equal(read_mask(path, "used"), ~MASK)
    assert not looks_inverted(read_mask(path))
    assert looks_inverted(read_mask(path, "used"))


@pytest.mark.parametrize("values", [FRAMES[0], FRAMES[0] / 100, MASK[0], np.full((40, 50), np.nan)])
def test_what_is_no_mask(values: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", values)
    with pytest.raises(ValueError, match="true and false|can't be read as a mask"):
        read_mask(tmp_path / "m.npy")


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_point_turns_as_its_frame_does(name: str, tmp_path: Path) -> None:
    frame = np.zeros((40, 50))
    frame[3, 7] = 1.0
    turned = ORIENTATIONS[name].turn(frame)
    assert turned.shape == ORIENTATIONS[name].turn_shape((40, 50))
    np.testing.assert_array_equal(ORIENTATIONS[name].back.turn(turned), frame)
    row, column = ORIENTATIONS[name].turn_point((3, 7), (40, 50))
    assert turned[int(row), int(column)] == 1.0


def test_the_orientations_are_the_eight_there_are() -> None:
    frame = np.arange(6).reshape(2, 3)
    seen = {
        orientation.turn(frame).tobytes() + bytes(orientation.turn(frame).shape)
        for orientation in ORIENTATIONS.values()
    }
    assert len(seen) == len(ORIENTATIONS) == 8
    np.testing.assert_array_equal(ORIENTATIONS["left-turn"].turn(frame), np.rot90(frame))
    np.testing.assert_array_equal(ORIENTATIONS["right-turn"].turn(frame), np.rot90(frame, -1))
    assert ORIENTATIONS["as-stored"] == Orientation()


def test_what_a_file_says_turns_with_its_frames(tmp_path: Path) -> None:
    frames = open_frames(nexus(tmp_path / "m.h5")).turned(ORIENTATIONS["left-turn"])
    assert frames.shape == (6, 50, 40)
    np.testing.assert_array_equal(frames.read_frame(2), np.rot90(FRAMES[2]))
    assert frames.statements.beam_center == (49 - 24.5, 19.0)
    assert frames.statements.mask is not None
    np.testing.assert_array_equal(frames.statements.mask, np.rot90(MASK))
