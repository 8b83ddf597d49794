from __future__ import annotations

from pathlib import Path

import pytest

from speckle_plugin.cli.options import (
    check_room,
    new_file,
    parse_beam_center,
    parse_disk_numbers,
    parse_numbers,
)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("2-5", (2, 3, 4, 5)),
        ("2,5,9", (2, 5, 9)),
        ("9,2-4,3", (2, 3, 4, 9)),  # in rising order, each once
        (" 7 ", (7,)),
    ],
)
def test_disk_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_disk_numbers(text) == numbers


@pytest.mark.parametrize("text", ["", "two", "5-2", "2,,3", "0-3", "-3", "2.5", "2-1000000000", "1001"])
def test_disk_numbers_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="disk numbers"):
        parse_disk_numbers(text)


def test_numbers_that_are_too_many() -> None:
    with pytest.raises(ValueError, match=r"frames '0-999999999' are 1000000000: give at most 10000000"):
        parse_numbers("0-999999999", "frames")


def test_a_file_that_finds_no_room(tmp_path: Path) -> None:
    check_room(tmp_path / "frames.h5", 1000)
    with pytest.raises(ValueError, match=r"frames.h5 would take 1e\+06 GB, and there are .* GB free"):
        check_room(tmp_path / "frames.h5", 10**15)


def test_beam_center() -> None:
    assert parse_beam_center("256, 255.5") == (256.0, 255.5)
    assert parse_beam_center("256, 255.5", "x-y") == (255.5, 256.0)
    with pytest.raises(ValueError, match="give X,Y in pixels"):
        parse_beam_center("1;2", "x-y")


@pytest.mark.parametrize("text", ["", "256", "1,2,3", "a,b", "nan,1", "inf,1"])
def test_beam_center_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="ROW,COLUMN"):
        parse_beam_center(text)


def test_a_failure_leaves_the_old_file_and_no_half_one(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), new_file(path, (".csv",), force=True) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="--force"), new_file(path, (".csv",), force=False):
        pytest.fail("the block must not run")
    with new_file(path, (".csv",), force=True) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_a_missing_folder_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder"), new_file(tmp_path / "no" / "a.csv", (".csv",), False):
        pytest.fail("the block must not run")
