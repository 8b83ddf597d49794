"""The frames of one run in parts, which several processes label together.

A part belongs to the process that holds its lease. Its results are in a file of its own until the run is
whole, so that a process that is killed costs the part that it was at, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from speckle_plugin.network.classifier import FrameResult
from speckle_plugin.reprocess.task import Frame, Task
from speckle_plugin.schema import POSSIBLE, Status, join_flags, join_numbers, split_flags, split_numbers
from speckle_plugin.store.leases import RunLease, RunLeases

__all__ = ["PART", "Part", "Results", "SharedRun", "cut_into_parts", "identity"]

PART = 64
"""Frames of a part: what a process that is killed loses at most."""

Results = dict[Frame, tuple[FrameResult, str]]
"""For each frame its result, and the reason if it has no label for want of pixels or geometry."""


@dataclass(frozen=True)
class Part:
    """Some frames of one image key that are to be labelled; the indices ascend."""

    image_key: str
    number: int
    indices: Sequence[int]

    @property
    def name(self) -> str:
        """Name of the part among those of its run."""
        return f"{self.image_key}-{self.number}"


def cut_into_parts(task: Task, frames: int | None = None) -> list[Part]:
    """Give the wanted frames of a task by image key, cut where indices are multiples of a number.

    So they are the same parts in every process, whatever is done of them already.
    """
    indices: dict[tuple[str, int], list[int]] = {}
    for key, index in task.wanted:
        if index < len(task.images[key]):
            number = 0 if frames is None else index // frames
            indices.setdefault((key, number), []).append(index)
    return [Part(key, number, sorted(found)) for (key, number), found in indices.items()]


class SharedRun:
    """What several processes know together of the labels of a run.

    Parameters
    ----------
    leases : RunLeases
    uid : str
        The run.
    lease : RunLease
        Of the run, shared.
    """

    def __init__(self, leases: RunLeases, uid: str, lease: RunLease) -> None:
        self._leases, self._uid, self._lease = leases, uid, lease
        self._folder = leases.folder / f"{quote(uid, safe='')}.parts"

    @contextmanager
    def holding(self, part: Part) -> Iterator[bool]:
        """Hold a part in a block, if nobody else does; tell whether."""
        with self._leases.holding(f"{self._uid}.{part.name}") as lease:
            yield lease is not None

    def take_alone(self) -> bool:
        """Take the whole run, to write its labels; False if others are still at it."""
        return self._lease.take_alone()

    def read(self, part: Part, labels_by: str) -> tuple[Results, Mapping[str, float]] | None:
        """Read the results of a part and the seconds that they took; None if it is not done.

        Parameters
        ----------
        part : Part
        labels_by : str
            What tells network and settings from others; see :func:`identity`.
        """
        try:
            with (
                self._path(part, labels_by).open("rb") as file,  # numpy leaves one open that it cannot read
                np.load(file, allow_pickle=False) as stored,
            ):
                columns = dict(stored)
            results = dict(_rows(part.image_key, columns))
            seconds: dict[str, float] = json.loads(str(columns["seconds"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None  # not there, or cut off by a power cut
        wanted: Results = {}
        for index in part.indices:
            if (frame := (part.image_key, index)) not in results:
                return None
            wanted[frame] = results[frame]
        return wanted, seconds

    def write(self, part: Part, labels_by: str, results: Results, seconds: Mapping[str, float]) -> None:
        """Keep the results of a part, all at once."""
        path = self._path(part, labels_by)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            np.savez(file, **_columns(results), seconds=np.array(json.dumps(dict(seconds))))
        os.replace(file.name, path)

    def forget(self) -> None:
        """Remove what is kept, when the run is whole."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, part: Part, labels_by: str) -> Path:
        return self._folder / labels_by / f"{quote(part.name, safe='')}.npz"


def identity(weights_sha256: str, settings: Mapping[str, Any]) -> str:
    """Give what tells labels by a network and settings from those by others."""
    text = json.dumps([weights_sha256, settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _columns(results: Results) -> dict[str, Any]:
    found = [result for result, _ in results.values()]
    return {
        "frame_index": np.array([index for _, index in results], np.int64),
        "status": np.array([str(result.status) for result in found]),
        "flags": np.array([join_flags(result.flags) for result in found]),
        "problem": np.array([problem for _, problem in results.values()]),
        "disk_number": np.array([result.disk_number for result in found], np.int64),
        "confidence": np.array([result.confidence for result in found]),
        "entropy": np.array([result.entropy for result in found]),
        "novelty": np.array([result.novelty for result in found]),
        "probabilities": np.array([result.probabilities for result in found], np.float32),
        POSSIBLE: np.array([join_numbers(result.possible) for result in found]),
    }


def _rows(image_key: str, columns: Mapping[str, Any]) -> Iterator[tuple[Frame, tuple[FrameResult, str]]]:
    for row, index in enumerate(columns["frame_index"].tolist()):
        result = FrameResult(
            Status(str(columns["status"][row])),
            columns["probabilities"][row],
            int(columns["disk_number"][row]),
            float(columns["confidence"][row]),
            float(columns["entropy"][row]),
            float(columns["novelty"][row]),
            tuple(split_flags(str(columns["flags"][row]))),
            split_numbers(str(columns[POSSIBLE][row])),
        )
        yield (image_key, index), (result, str(columns["problem"][row]))
