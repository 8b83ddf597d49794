"""Cameras that write one HDF5 file per exposure, without simulating anything."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["COLUMNS", "ROWS", "FileCamera", "GivenCamera"]

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
        frames = self.expose(self._count, n)
        self._count += n
        path = self._folder / f"{self.name}-{uuid.uuid4()}.h5"
        self.write(path, frames)
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

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns of its frames."""
        return ROWS, COLUMNS

    def expose(self, first: int, count: int) -> NDArray[Any]:
        """Give the frames of an exposure, shape (count, rows, columns)."""
        numbers = np.arange(first, first + count, dtype=self._dtype)
        return np.broadcast_to(numbers[:, None, None], (count, *self.shape))

    def write(self, path: Path, frames: NDArray[Any]) -> None:
        """Write the file of an exposure."""
        with h5py.File(path, "w") as file:
            file.create_dataset("/entry/data/data", data=frames, chunks=(1, *self.shape))

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        documents, self._asset_docs = self._asset_docs, []
        yield from documents

    def describe(self) -> dict[str, Any]:
        n = self.frames_per_trigger
        return {
            f"{self.name}_image": {
                "dtype": "array",
                "dtype_numpy": self._dtype,
                "shape": [*self.shape] if n == 1 else [n, *self.shape],
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


class GivenCamera(FileCamera):
    """A camera that shows given frames, one after the other and again.

    Parameters
    ----------
    frames : array, shape (frames, rows, columns)
    configuration : mapping of str to value
        Its configuration attributes, without its name: `beam_center`.
    change : callable, optional
        Changes what is exposed, shape (count, rows, columns).
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        frames: NDArray[Any],
        configuration: Mapping[str, Any] | None = None,
        change: Callable[[NDArray[Any]], NDArray[Any]] = lambda exposed: exposed,
        truth: Sequence[int] | None = None,
    ) -> None:
        super().__init__(name, folder, dtype=frames.dtype.str)
        self._frames, self._change = frames, change
        self._truth = truth
        self._configuration = {f"{name}_{key}": value for key, value in (configuration or {}).items()}

    @property
    def shape(self) -> tuple[int, ...]:
        return self._frames.shape[1:]

    def expose(self, first: int, count: int) -> NDArray[Any]:
        return self._change(self._frames[np.arange(first, first + count) % len(self._frames)])

    def read(self) -> dict[str, Any]:
        readings = super().read()
        if self._truth is not None:
            number = self._truth[(self._count - 1) % len(self._truth)]
            readings[f"{self.name}_truth_disk_number"]["value"] = int(number)
        return readings

    def describe_configuration(self) -> dict[str, Any]:
        shapes = {key: list(np.shape(value)) for key, value in self._configuration.items()}
        return {
            key: {"dtype": "array" if shape else "number", "shape": shape, "source": "test"}
            for key, shape in shapes.items()
        }

    def read_configuration(self) -> dict[str, Any]:
        return {key: {"value": value, "timestamp": 1.0} for key, value in self._configuration.items()}
