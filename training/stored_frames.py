"""Labelled frames of stored runs: found by their runs, and read when they are needed.

The labels are the truth that a simulated detector records with its frames, or the certified numbers of
second opinions, or come from a CSV file in which somebody wrote them. Only the small tables are read at
first; the frames come in blocks, so that any number fits in memory.
"""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.preprocessing.marked_pixels import without_marked_pixels
from speckle_plugin.schema import Opinion, Status
from speckle_plugin.store import StoredRun, find_frames, read_frames
from training.frames import DrawnFrame

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns
    from pandas import DataFrame

__all__ = [
    "LabelledFrame",
    "LabelledFrames",
    "frames_of_labels",
    "frames_of_structure",
    "frames_of_truth",
]

COLUMNS = ("run_uid", "frame_index", "disk_number")
"""Columns that a file of labels must have; `image_key` may be a fourth."""

KEPT_BYTES = 1 << 30
"""Up to so many bytes of frames are kept once they were read."""

BLOCK_BYTES = 1 << 28
"""Of more than that, so many bytes are read at once."""


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """A stored frame and how many disks it shows.

    Parameters
    ----------
    run_uid, image_key, frame_index
        Where it is, as in the results of the live classifier.
    disk_number : int
    geometry : FrameGeometry
        One object for all frames that have it in common.
    k_step : float or None
        Wave number per pixel, where the detector states it.
    center_assumed : bool
        Whether the detector does not state where the beam is, and pixel (0, 0) was taken.
    """

    run_uid: str
    image_key: str
    frame_index: int
    disk_number: int
    geometry: FrameGeometry
    k_step: float | None = None
    center_assumed: bool = False


_Pixels = tuple[NDArray[np.float32], FrameGeometry]
"""A frame, and its geometry without the pixels that the detector marks in it."""


@dataclass(frozen=True, eq=False)
class LabelledFrames:
    """Labelled frames, and the runs from which they can be read.

    Parameters
    ----------
    runs : mapping of str to BlueskyRun
        By uid.
    frames : tuple of LabelledFrame
    left_out : int
        Frames of the runs that have no label, or that the live classifier found unfit.
    why_left_out : str
        How many of them for what reason, where that is known.
    """

    runs: Mapping[str, BlueskyRun]
    frames: tuple[LabelledFrame, ...]
    left_out: int = 0
    why_left_out: str = ""
    _kept: dict[int, _Pixels] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def run_uids(self) -> tuple[str, ...]:
        """Uids of the runs that have labelled frames, in their order."""
        return tuple(dict.fromkeys(frame.run_uid for frame in self.frames))

    @property
    def disk_numbers(self) -> dict[int, int]:
        """Number of frames of each disk number, in rising order."""
        return dict(sorted(Counter(frame.disk_number for frame in self.frames).items()))

    def select(self, positions: Collection[int]) -> LabelledFrames:
        """Give some of the frames, by their position among these."""
        chosen = replace(self, frames=tuple(self.frames[i] for i in positions), left_out=0)
        chosen._kept.update({new: self._kept[i] for new, i in enumerate(positions) if i in self._kept})
        return chosen

    def read(self, order: Sequence[int] | NDArray[np.int64] | None = None) -> Iterator[DrawnFrame]:
        """Read frames in blocks.

        Parameters
        ----------
        order : sequence of int, optional
            Positions of the frames wanted; all of them, as they stand, by default.

        Yields
        ------
        DrawnFrame
            Pixels of shape (rows, columns), float32, geometry and disk number. Pixels that the detector
            marks as without a value are masked.

        Raises
        ------
        ValueError
            If a run has no such frame.
        """
        if not self.frames:
            return
        frame_bytes = 4 * max(int(np.prod(frame.geometry.shape)) for frame in self.frames)
        keep = len(self) * frame_bytes <= KEPT_BYTES
        wanted = iter(range(len(self)) if order is None else order)
        while block := list(itertools.islice(wanted, max(1, BLOCK_BYTES // frame_bytes))):
            missing = [i for i in dict.fromkeys(block) if i not in self._kept]
            pixels = self._kept if keep else {}
            if missing:
                pixels.update(self._read(missing))
            for i in block:
                yield DrawnFrame(*pixels[i], self.frames[i].disk_number)

    def _read(self, positions: Sequence[int]) -> Iterator[tuple[int, _Pixels]]:
        import pandas as pd

        chosen = [self.frames[i] for i in positions]
        columns = {
            name: [getattr(f, name) for f in chosen] for name in ("run_uid", "image_key", "frame_index")
        }
        table = pd.DataFrame(columns, index=[int(i) for i in positions])
        for label, frame in read_frames(list(self.runs.values()), table):
            position = int(label)  # type: ignore[call-overload]
            geometry = without_marked_pixels(frame, self.frames[position].geometry)
            with np.errstate(over="ignore"):  # what overflows is not finite, and told by who looks at it
                yield position, (frame.astype(np.float32), geometry)


def frames_of_truth(runs: CatalogOfBlueskyRuns, mask: NDArray[np.bool_] | None = None) -> LabelledFrames:
    """Give the frames whose disk number the detector recorded itself, as a simulated one does.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
        Runs that passed through the live classifier. Its labels are not used; frames that it
        found unfit are left out.
    mask : array of bool, optional
        True where a pixel is left out, on all detectors.

    Raises
    ------
    ValueError
        If there are no such frames, or a geometry is impossible.
    """
    by_uid = _by_uid(runs)
    table = find_frames(list(by_uid.values()))
    fit = table[(table["status"] != Status.FLAGGED) & table["truth_disk_number"].notna()]
    if fit.empty:
        raise ValueError(
            f"the {len(by_uid)} runs that the query finds hold {len(table)} frames with results, none of "
            "them with a recorded disk number (only simulated detectors record it): give the labels in a "
            f"CSV file with the columns {', '.join(COLUMNS)}, or have the frames solved (speckle solve)"
        )
    return _frames_of_rows(by_uid, fit, "truth_disk_number", len(table), mask)


def frames_of_structure(
    runs: CatalogOfBlueskyRuns,
    mask: NDArray[np.bool_] | None = None,
    known: Collection[int] | None = None,
) -> LabelledFrames:
    """Give the frames whose disk number a second opinion has certified; no ground truth is needed.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
        Runs that passed through the live classifier, and whose frames were solved.
    mask : array of bool, optional
        True where a pixel is left out, on all detectors.
    known : collection of int, optional
        Frames of other disk numbers are left out, and told.

    Raises
    ------
    ValueError
        If there are no such frames, or a geometry is impossible.
    """
    by_uid = _by_uid(runs)
    table = find_frames(list(by_uid.values()))
    why = table["certificate"].replace({"": "of no opinion", str(Opinion.SOLVED): ""})
    certified = why == ""
    if known is not None:
        why[certified & ~table["structure_disk_number"].isin(list(known))] = "of unknown disk numbers"
    why[certified & (table["status"] == Status.FLAGGED)] = "unfit for the network"
    solved, others = table[why == ""], why[why != ""]
    why_not = ", ".join(f"{count} {reason}" for reason, count in others.value_counts().items())
    if solved.empty:
        raise ValueError(
            f"none of the {len(table)} frames of the {len(by_uid)} runs that the query finds has a certified "
            f"disk number ({why_not or 'no results'}): have them solved first (speckle solve)"
        )
    labelled = _frames_of_rows(by_uid, solved, "structure_disk_number", len(table), mask)
    return replace(labelled, why_left_out=why_not)


def _frames_of_rows(
    by_uid: Mapping[str, BlueskyRun],
    rows: DataFrame,
    column: str,
    total: int,
    mask: NDArray[np.bool_] | None,
) -> LabelledFrames:
    """Give the frames of a table, labelled by one of its columns, of so many in all."""
    detectors = _Detectors(by_uid, mask)
    keys = zip(rows["run_uid"], rows["image_key"], rows["frame_index"], rows[column], strict=True)
    frames = tuple(detectors.label(uid, key, int(index), int(number)) for uid, key, index, number in keys)
    return LabelledFrames(by_uid, frames, left_out=total - len(frames))


def frames_of_labels(
    runs: CatalogOfBlueskyRuns, path: Path | str, mask: NDArray[np.bool_] | None = None
) -> LabelledFrames:
    """Give the frames that a CSV file labels, in columns `run_uid`, `frame_index`, `disk_number`.

    A fourth, `image_key`, is needed for runs with several detectors; more are ignored, so that
    the file may be one of ``speckle query --frames --out``, corrected.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
        Where the frames are, with or without results of the live classifier.
    path : path
    mask : array of bool, optional
        True where a pixel is left out, on all detectors.

    Raises
    ------
    ValueError
        If columns are missing, or a row can't be read, names a run or frame that is not there, or
        one for the second time.
    OSError
        If the file can't be read.
    """
    rows = list(_read_labels(Path(path)))
    by_uid = _by_uid(runs)
    unknown = sorted({row.run_uid for row in rows} - set(by_uid))
    if unknown:
        raise ValueError(
            f"{path} names runs that are not among the {len(by_uid)} that the query finds: {_some(unknown)}; "
            "give whole uids, and a query that finds them"
        )
    detectors = _Detectors(by_uid, mask)
    frames: dict[tuple[str, str, int], LabelledFrame] = {}
    for row in rows:
        where = f"{path}, line {row.line}"
        key = row.image_key or detectors.only_key(row.run_uid, where)
        count = detectors.count(row.run_uid, key, where)
        if not 0 <= row.frame_index < count:
            raise ValueError(
                f"{where}: the run {row.run_uid} has the frames 0 to {count - 1} under {key!r}, "
                f"none with the index {row.frame_index}"
            )
        frame = row.run_uid, key, row.frame_index
        if frame in frames:
            raise ValueError(f"{where}: frame {row.frame_index} of the run {row.run_uid} has a label already")
        frames[frame] = detectors.label(*frame, row.disk_number)
    total = sum(detectors.count(uid, key, "") for uid, key in {frame[:2] for frame in frames})
    return LabelledFrames(by_uid, tuple(frames.values()), left_out=total - len(frames))


@dataclass(frozen=True)
class _Label:
    line: int
    run_uid: str
    frame_index: int
    disk_number: int
    image_key: str


def _read_labels(path: Path) -> Iterator[_Label]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path} lacks the columns {', '.join(missing)}; it has "
                f"{', '.join(reader.fieldnames or ()) or 'none'}. Needed are {', '.join(COLUMNS)}"
            )
        count = 0
        for row in reader:
            count += 1
            try:
                index, number = (int(row[column]) for column in ("frame_index", "disk_number"))
            except (TypeError, ValueError):
                raise ValueError(
                    f"{path}, line {reader.line_num}: frame_index and disk_number must be integers, not "
                    f"{row['frame_index']!r} and {row['disk_number']!r}; remove rows without a label"
                ) from None
            yield _Label(reader.line_num, row["run_uid"], index, number, row.get("image_key") or "")
    if not count:
        raise ValueError(f"{path} holds no labels, only the names of the columns: add a row for each frame")


def _by_uid(runs: CatalogOfBlueskyRuns) -> dict[str, BlueskyRun]:
    by_uid = {str(run.start["uid"]): run for run in runs.values()}
    if not by_uid:
        raise ValueError("the query finds no runs: widen it; speckle query shows what is stored")
    return by_uid


class _Detectors:
    """What the descriptors of runs tell of their detectors, each read once."""

    def __init__(self, runs: Mapping[str, BlueskyRun], mask: NDArray[np.bool_] | None) -> None:
        self._stored = {uid: StoredRun(run) for uid, run in runs.items()}
        self._mask = mask
        self._geometries: dict[Any, FrameGeometry] = {}
        self._known: dict[tuple[str, str], LabelledFrame] = {}

    def label(self, uid: str, key: str, index: int, disk_number: int) -> LabelledFrame:
        if (uid, key) not in self._known:
            self._known[uid, key] = self._describe(uid, key)
        return replace(self._known[uid, key], frame_index=index, disk_number=disk_number)

    def only_key(self, uid: str, where: str) -> str:
        keys = list(self._stored[uid].images)
        if len(keys) != 1:
            raise ValueError(
                f"{where}: the run {uid} has the images {_some(keys) or 'none'}; "
                "say which in a column image_key"
            )
        return keys[0]

    def count(self, uid: str, key: str, where: str) -> int:
        if key not in (images := self._stored[uid].images):
            raise ValueError(
                f"{where}: the run {uid} has no images {key!r}, only {_some(list(images)) or 'none'}"
            )
        return len(images[key])

    def _describe(self, uid: str, key: str) -> LabelledFrame:
        images = self._stored[uid].images_of(key)
        masks = None if self._mask is None else {images.data_key: self._mask}
        detector = images.describe(replace(self._stored[uid].settings, masks=masks))
        if detector.geometry is None:
            raise ValueError(f"frames of the run {uid}: {detector.problem}")
        if images.is_configured_anew(self._stored[uid].settings):
            raise ValueError(
                f"the detector of {key!r} was configured anew during the run {uid}, so that beam centre or "
                "pitch are not the same for all its frames: choose the other runs (--where, --since, --until)"
            )
        # Runs of one detector share a geometry, so that frames are prepared together.
        known = detector.geometry.shape, detector.geometry.beam_center
        geometry = self._geometries.setdefault(known, detector.geometry)
        return LabelledFrame(uid, key, 0, 0, geometry, detector.k_step, detector.center_assumed)


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
