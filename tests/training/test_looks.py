"""What is seen of many frames: in one process or in several, and kept in parts."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from speckle_plugin.network import find_bundle
from training.confidence import graded_frames
from training.frames import DrawnFrame
from training.looks import Part, Seen, look_at_parts, looked_range
from training.recipe import FrameRecipe
from training.trust import collect

BUNDLE = find_bundle("quadrant")
RECIPE = FrameRecipe(families=("mono",), size=129, disk_numbers=(2, 5, 9))
SIZE = looked_range(BUNDLE, RECIPE)


def never() -> Iterator[tuple[int, DrawnFrame]]:
    raise AssertionError("this part was looked at before")


def parts() -> list[Part]:
    return [
        Part(f"{group:02d}", 6, functools.partial(graded_frames, RECIPE, 3, 2, [group])) for group in (0, 4)
    ]


def assert_same(first: Seen, second: Seen) -> None:
    for name in ("groups", "disk_numbers", "masked"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for one, other in zip(first.look, second.look, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_processes_see_what_one_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    report = lambda what, done, total, numbers: told.append((done, total))  # noqa: E731
    alone = look_at_parts(BUNDLE, parts(), SIZE, report=report)
    assert told == [(6, 12), (12, 12)]
    assert alone.groups.tolist() == 6 * [0] + 6 * [4]
    monkeypatch.setattr("training.looks.ALONE", 0)
    together = look_at_parts(BUNDLE, parts(), SIZE, tmp_path / "looks", report)
    assert told[2:] == [(6, 12), (12, 12)]
    assert_same(alone, together)


def test_parts_that_are_there_are_not_looked_at_again(tmp_path: Path) -> None:
    first, second = parts()
    look_at_parts(BUNDLE, [first], SIZE, tmp_path)
    told: list[tuple[int, int]] = []
    kept = Part(first.name, first.count, never)
    seen = look_at_parts(BUNDLE, [kept, second], SIZE, tmp_path, lambda *said: told.append(said[1:3]))
    assert told == [(12, 12)]
    assert_same(seen, look_at_parts(BUNDLE, parts(), SIZE))


def test_each_eleventh_frame_has_a_beam_stop(tmp_path: Path) -> None:
    """Known frames and odd ones alike, so that a stop alone tells nothing."""
    share = collect(BUNDLE, RECIPE, 3, known=11, odd=3, folder=tmp_path)
    (folder,) = tmp_path.iterdir()
    masked = Seen.join([Seen.load(path) for path in sorted(folder.iterdir())]).masked
    stopped = np.flatnonzero(masked > masked.min())  # the centre is left out of all
    assert stopped.tolist() == [10, 21, 32, 33 + 10, 33 + 21]  # of 33 known frames and 24 odd ones
    assert share.kinds[stopped].tolist() == [0, 0, 0, 3, 6]
    assert masked.max() * SIZE**2 < 10**2 + 0.5


def test_more_odd_frames_begin_with_those_that_were_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.trust.PART", 8)
    told: list[tuple[int, int]] = []
    of = BUNDLE, RECIPE, 3
    few = collect(*of, known=2, odd=1, folder=tmp_path)
    more = collect(*of, 2, 2, lambda *said: told.append(said[1:3]), tmp_path)
    assert told == [(22, 22)]  # 6 known and 8 odd ones were there
    assert few.kinds.tolist() == [0] * 6 + [*range(1, 9)]
    assert more.kinds.tolist() == [0] * 6 + 2 * [*range(1, 9)]
    np.testing.assert_array_equal(more.look.statistics[:14], few.look.statistics)
