"""What a report says of a run in words and numbers, read from the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from speckle_plugin.schema import (
    BEAM_CENTER,
    CLASSES,
    IMAGE_KEYS,
    LEFT_OUT,
    MASKS,
    NO_DISK_NUMBER,
    ODD_IN,
    Flag,
    Opinion,
    Status,
    split_flags,
)
from speckle_plugin.store import StoredRun, find_frames

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["MEANING", "Fact", "Facts"]

MEANING = {
    Flag.WRONG_SHAPE: "another shape than the detector stated: no label",
    Flag.NON_FINITE: "holds what is not a number: no label",
    Flag.EMPTY: "no light, or all pixels alike: no label",
    Flag.UNREADABLE: "its file could not be read: no label",
    Flag.UNUSABLE_GEOMETRY: "mask or beam centre do not fit, or leave too little: no label",
    Flag.SATURATED: "pixels at the detector's limit: the label may be wrong",
    Flag.NEGATIVE: "pixels below 0",
    Flag.WRONG_K_STEP: "no network is for the detector's k step: no label",
    Flag.OTHER_PITCH: "pixels of another k step than the network was trained on: do not trust the label",
    Flag.RESAMPLED: "its k step is near that of the network, and it was brought to it",
    Flag.ASSUMED_CENTER: "nobody said where the beam is, pixel (0, 0) was taken: do not trust the label",
    Flag.OUT_OF_DISTRIBUTION: "unlike all frames that the network was trained on: do not trust the label",
    **ODD_IN,
    Flag.CENTER_DISAGREES: "the frames show the beam elsewhere than it was told: do not trust the label",
    Flag.HOT_PIXELS: "pixels stand out as no speckle does, and no mask hides them: the label may be wrong",
    Flag.NO_DARK: "a dark frame was to be subtracted, and none fits: the label may be wrong",
    Flag.NO_FLAT: "it was to be divided by a flat field, and none fits: the label may be wrong",
}
"""What each flag means for who reads the label."""

LONGEST = 300
"""Characters of a value of the metadata that are shown."""

CONFIGURATION = ("model", "model_version", "engine", "precision", "device", "temperature", "weights_sha256")

TOLD_ELSEWHERE = {"uid", "time", "scan_id", "plan_name", "hints", "versions", "plan_pattern_module"}


@dataclass(frozen=True)
class Fact:
    """A line of a table: what it is, and its value as text."""

    name: str
    value: str


class Facts:
    """The words and numbers of one run.

    Parameters
    ----------
    stored : StoredRun
    """

    def __init__(self, stored: StoredRun) -> None:
        self.stored = stored

    @cached_property
    def frames(self) -> DataFrame:
        """A row for each frame, as `find_frames` gives it."""
        return find_frames(self.stored.run)

    @property
    def name(self) -> str:
        """What the run is called."""
        return f"scan {self.stored.start.get('scan_id', '?')}"

    @property
    def when(self) -> str:
        """When it began and how long it took."""
        started = float(self.stored.start["time"])
        text = datetime.fromtimestamp(started).isoformat(" ", "seconds")
        if self.stored.stop is None:
            return f"{text}, not ended"
        return f"{text}, {float(self.stored.stop['time']) - started:.0f} s, {self.stored.stop['exit_status']}"

    @property
    def counts(self) -> list[Fact]:
        """The frame counts: the first is the sum of the others."""
        statuses = self.frames["status"].value_counts()
        told = [Fact("frames", str(len(self.frames)))]
        return told + [Fact(str(status), str(int(statuses.get(status, 0)))) for status in Status]

    @property
    def labels(self) -> list[tuple[int, int, float, float]]:
        """Disk number, frames, mean and lowest confidence of each label."""
        labelled = self.frames[self.frames["disk_number"] != NO_DISK_NUMBER]
        grouped = labelled.groupby("disk_number")["confidence"]
        return [(int(str(n)), len(c), float(c.mean()), float(c.min())) for n, c in grouped]

    @property
    def flags(self) -> list[tuple[str, int, str]]:
        """Name, frames and meaning of each flag."""
        counts: dict[Flag, int] = {}
        for text in self.frames["flags"]:
            for flag in split_flags(text):
                counts[flag] = counts.get(flag, 0) + 1
        return [(str(flag), counts[flag], MEANING[flag]) for flag in Flag if flag in counts]

    @property
    def accuracy(self) -> str:
        """How many labels are the truth, where a simulated detector tells it; else nothing."""
        known = self.frames[
            (self.frames["disk_number"] != NO_DISK_NUMBER) & self.frames["truth_disk_number"].notna()
        ]
        if known.empty:
            return ""
        right = int((known["disk_number"] == known["truth_disk_number"]).sum())
        return f"{right} of {len(known)} labels are the disk number that the simulated sample tells."

    @property
    def opinions(self) -> str:
        """How many frames were solved, and to what end."""
        summary = self.stored.structure_summary
        if not summary:
            return ""
        counts = ", ".join(f"{summary.get(o, 0)} {o.replace('_', ' ')}" for o in Opinion)
        return (
            f"{summary.get('frames', 0)} frames were to be solved: {counts}. Of the solved ones "
            f"{summary.get('disagree', 0)} have another number of disks than the network says."
        )

    @property
    def problems(self) -> list[str]:
        """What the summary says went wrong."""
        summary = self.stored.summary
        told = [f"{problem['frames']} frames: {problem['reason']}" for problem in summary.get("problems", ())]
        return told + [f"{key} was not classified: {why}" for key, why in summary.get(LEFT_OUT, {}).items()]

    @property
    def model(self) -> list[Fact]:
        """The network, and how it was computed."""
        model = self.stored.model
        told = _facts({name: model[name] for name in CONFIGURATION if name in model})
        if classes := list(model.get(CLASSES) or ()):
            told.append(Fact("disk numbers that it knows", ", ".join(str(int(n)) for n in classes)))
        return told

    @property
    def settings(self) -> list[Fact]:
        """What the session was told of the frames, and what their detectors say."""
        model, told = self.stored.model, []
        if keys := list(model.get(IMAGE_KEYS) or ()):
            told.append(Fact("images that were classified", ", ".join(map(str, keys))))
        if center := list(model.get(BEAM_CENTER) or ()):
            told.append(Fact("beam centre of the session (row, column)", _text(center)))
        told += [Fact("mask (data key, SHA-256)", str(text)) for text in model.get(MASKS) or ()]
        for key, images in self.stored.images.items():
            detector = images.describe(self.stored.settings)
            rows, columns = images.shape
            told.append(Fact(key, f"{len(images)} frames of {rows} x {columns} pixels, {images.dtype}"))
            center_of = "nobody says" if detector.beam_center is None else _text(detector.beam_center)
            told.append(Fact(f"{key}: beam centre (row, column)", center_of))
            told.append(Fact(f"{key}: k step", _text(detector.k_step or "not stated")))
            told.append(Fact(f"{key}: saturation level", _text(detector.saturation_level or "not stated")))
        return told

    @property
    def metadata(self) -> list[Fact]:
        """What the plan and the user said of the run."""
        return _facts({k: v for k, v in self.stored.start.items() if k not in TOLD_ELSEWHERE})


def _facts(values: Mapping[str, Any]) -> list[Fact]:
    return [Fact(name.replace("_", " "), _text(value)) for name, value in values.items()]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        text = json.dumps(value, default=str)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        text = ", ".join(map(_text, value))
    else:
        text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
