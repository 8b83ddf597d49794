"""A camera that writes one HDF5 file per exposure, without simulating anything."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

__all__ = ["COLUMNS", "ROWS", "FileCamera"]

ROWS, COLUMNS = 8, 6
"""Pixels of its frames, and of those of `documents_of`."""


class FileCamera:
    """A camera that writes one HDF5 file per exposure; all pixels of frame i are i."""

    parent = None

    def __init__(self, name: str, folder: Path, frames_per_trigger: int = 1, dtype: str = "<f4") -> None:
        self.name = name
        self.frames_per_trigger = frames_per_trigger
        self._folder, self._dtype = folder, dtype
        self._asset_docs: list[tuple[str, dict[str, Any]]] = []
        self._count = 0
        self._datum_id = ""

    @property
    def hints(self) -> dict[str, Any]:
        return {"fields": []}

    def stage(self) -> list[Any]:
        self._count = 0
        return [self]

    def unstage(self) -> list[Any]:
        return [self]

    def trigger(self) -> Any:
        from ophyd.status import Status

        n = self.frames_per_trigger
        numbers = np.arange(self._count, self._count + n, dtype=self._dtype)
        self._count += n
        path = self._folder / f"{self.name}-{uuid.uuid4()}.h5"
        with h5py.File(path, "w") as file:
            frames = np.broadcast_to(numbers[:, None, None], (n, ROWS, COLUMNS))
            file.create_dataset("/entry/data/data", data=frames, chunks=(1, ROWS, COLUMNS))
        resource = str(uuid.uuid4())
        self._datum_id = f"{resource}/0"
        self._asset_docs = [
            (
                "resource",
                {
                    "uid": resource,
                    "spec": "AD_HDF5",
                    "root": str(self._folder),
                    "resource_path": path.name,
                    "resource_kwargs": {"chunk_shape": [1], **({"frame_per_point": n} if n > 1 else {})},
                    "path_semantics": "posix",
                },
            ),
            ("datum", {"resource": resource, "datum_id": self._datum_id, "datum_kwargs": {}}),
        ]
        status = Status()
        status.set_finished()
        return status

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        documents, self._asset_docs = self._asset_docs, []
        yield from documents

    def describe(self) -> dict[str, Any]:
        n = self.frames_per_trigger
        return {
            f"{self.name}_image": {
                "dtype": "array",
                "dtype_numpy": self._dtype,
                "shape": [ROWS, COLUMNS] if n == 1 else [n, ROWS, COLUMNS],
                "dims": ["y", "x"] if n == 1 else ["frame", "y", "x"],
                "external": "FILESTORE:",
                "source": "test",
            },
            f"{self.name}_truth_disk_number": {
                "dtype": "integer",
                "dtype_numpy": "<i8",
                "shape": [],
                "source": "test",
            },
        }

    def read(self) -> dict[str, Any]:
        event = self._count // self.frames_per_trigger - 1
        values = {f"{self.name}_image": self._datum_id, f"{self.name}_truth_disk_number": 2 + event % 19}
        return {key: {"value": value, "timestamp": time.time()} for key, value in values.items()}

    def describe_configuration(self) -> dict[str, Any]:
        return {}

    def read_configuration(self) -> dict[str, Any]:
        return {}
