"""`speckle calibrate`: what does not go together is told before hours of drawing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testing.commands import Speckle


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--head-rows", 513), "--head-rows is for a head: give --head-frames, too"),
        (("--head-frames", 10, "--graded", 0), "joined with the network by graded frames"),
        (("--head-frames", 10, "--head-rows", 513), "give --keep-oddness"),
        (("--limit-heads", "--head-frames", 10), "leave --head-frames and --keep-oddness"),
        (("--limit-heads", "--graded", 0), "joined with the network by graded frames"),
    ],
)
def test_it_is_told_before_frames_are_drawn(
    speckle: Speckle, tmp_path: Path, options: tuple[object, ...], told: str
) -> None:
    folder = tmp_path / "head"
    paths = ("--out", tmp_path / "x.trust.npz", "--folder", folder)
    result = speckle("calibrate", "quadrant", *paths, *options)
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())
    assert not folder.exists()
