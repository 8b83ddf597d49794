"""Broken files of every format: always frames of the right size or one clear error, also by the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from speckle_plugin.cli import app
from speckle_plugin.frames.files import open_frames
from speckle_plugin.frames.masks import read_mask

from .writers import FRAMES, LAYOUTS

FORMATS = {
    "hdf5": "where AreaDetector puts frames",
    "compressed hdf5": "bitshuffle and LZ4, an Eiger's default",
    "tiff": "TIFF with several pages",
    "big tiff": "big TIFF, of the other byte order, compressed",
    "edf": "EDF with several frames",
    "npy": "npy",
    "npz": "npz with a key of its own",
}

damages = st.tuples(
    st.floats(0, 1, exclude_max=True),  # where it is cut off, as a part of it
    st.booleans(),  # whether it is
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=4),  # bytes written over
)

odd = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _damage(content: bytes, damage: tuple[float, bool, list[tuple[int, int]]]) -> bytes:
    part, is_cut, bytes_over = damage
    broken = bytearray(content)
    for place, value in bytes_over:
        broken[place % len(broken)] = value
    return bytes(broken[: int(part * len(broken))] if is_cut else broken)


@pytest.mark.filterwarnings("ignore")  # what the libraries say of damaged files is not what is looked at
@pytest.mark.parametrize("name", FORMATS)
@odd
@given(damage=damages)
@example(damage=(0.5, True, []))
@example(damage=(0.0, False, []))
def test_frames_or_one_clear_error(
    name: str, damage: tuple[float, bool, list[tuple[int, int]]], tmp_path: Path
) -> None:
    whole = LAYOUTS[FORMATS[name]][0](tmp_path)
    path = tmp_path / "broken"
    path.write_bytes(_damage(whole.read_bytes(), damage))
    try:
        frames = open_frames(path)
        blocks = list(frames.read_blocks(2))
    except ValueError as error:
        assert str(error).strip()
        return
    assert sum(len(block) for block in blocks) == frames.shape[0]
    assert all(block.shape[1:] == frames.shape[1:] and block.dtype.kind in "biuf" for block in blocks)
    if not damage[1] and not damage[2]:
        np.testing.assert_array_equal(np.concatenate(blocks), FRAMES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
@settings(odd, max_examples=10)
@given(damage=damages)
def test_the_command_shows_no_traceback(
    name: str, damage: tuple[float, bool, list[tuple[int, int]]], tmp_path: Path
) -> None:
    whole = LAYOUTS[FORMATS[name]][0](tmp_path)
    path = tmp_path / "broken"
    path.write_bytes(_damage(whole.read_bytes(), damage))
    result = CliRunner().invoke(app, ["center", str(path)])
    assert result.exit_code in (0, 2), f"{result.exception!r}"
    if result.exit_code == 2:
        assert result.stderr.startswith("Error: ") and len(result.stderr.splitlines()) == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["hdf5", "edf", "npy", "npz"])
@settings(odd, max_examples=15)
@given(damage=damages)
def test_a_mask_or_one_clear_error(
    name: str, damage: tuple[float, bool, list[tuple[int, int]]], tmp_path: Path
) -> None:
    whole = LAYOUTS[FORMATS[name]][0](tmp_path)
    path = tmp_path / "broken"
    path.write_bytes(_damage(whole.read_bytes(), damage))
    try:
        mask = read_mask(path)
    except ValueError as error:
        assert str(error).strip()
        return
    assert mask.dtype == bool and mask.ndim == 2
