"""A camera and a live classifier for tests of the storage, in tests and in their subprocesses."""

from __future__ import annotations

import itertools
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from speckle_plugin import schema

CLASSES = tuple(range(2, 21))
ROWS, COLUMNS = 8, 6
Callback = Callable[[str, dict[str, Any]], None]


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


class FakeClassifier:
    """Adds the results that it is given to each run, one event for each frame, as the pipeline does.

    Parameters
    ----------
    downstream : callable
        Gets the raw documents and the results.
    results : sequence of (status, disk number, confidence, flags)
        One for each frame of the run, from the first again when they are used up.
    """

    def __init__(
        self, downstream: Callback, results: Sequence[tuple[str, int, float, str]], model: str = "mono"
    ) -> None:
        self._downstream, self._results, self._model = downstream, results, model
        self._image_keys: dict[str, dict[str, int]] = {}
        self._given: list[dict[str, Any]] = []
        self._descriptor: str | None = None

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        if name == "start":
            self._start_uid, self._descriptor, self._given = doc["uid"], None, []
            self._next = itertools.cycle(self._results)
            self._indices: dict[str, int] = {}
        if name == "descriptor":
            self._image_keys[doc["uid"]] = {
                key: (spec["shape"][0] if len(spec["shape"]) == 3 else 1)
                for key, spec in doc["data_keys"].items()
                if spec.get("external")
            }
        if name == "stop":
            doc = {
                **doc,
                "num_events": {**doc["num_events"], "classification": len(self._given)},
                "classification": self._summary(),
            }
        self._downstream(name, doc)
        if name == "event":
            for key, n in self._image_keys[doc["descriptor"]].items():
                for _ in range(n):
                    self._emit(key, doc["seq_num"])

    def _emit(self, image_key: str, seq_num: int) -> None:
        now = time.time()
        if self._descriptor is None:
            self._descriptor = str(uuid.uuid4())
            keys = schema.result_keys(len(CLASSES))
            configuration = {"model": self._model, "model_version": "1", "weights_sha256": "0" * 64}
            self._downstream(
                "descriptor",
                {
                    "uid": self._descriptor,
                    "run_start": self._start_uid,
                    "name": schema.CLASSIFICATION_STREAM,
                    "time": now,
                    "data_keys": keys,
                    "object_keys": {schema.CLASSIFIER: list(keys)},
                    "configuration": {
                        schema.CLASSIFIER: {
                            "data": configuration,
                            "timestamps": dict.fromkeys(configuration, now),
                            "data_keys": {k: schema.configuration_keys()[k] for k in configuration},
                        }
                    },
                    "hints": {},
                },
            )
        status, disk_number, confidence, flags = next(self._next)
        index = self._indices.get(image_key, 0)
        self._indices[image_key] = index + 1
        data = {
            "image_key": image_key,
            "frame_index": index,
            "primary_seq_num": seq_num,
            "status": status,
            "disk_number": disk_number,
            "confidence": confidence,
            "probabilities": [confidence if c == disk_number else 0.0 for c in CLASSES],
            "entropy": 0.1,
            "novelty": 1.0,
            "flags": flags,
            "latency": 0.01,
        }
        self._given.append(data)
        self._downstream(
            "event",
            {
                "uid": str(uuid.uuid4()),
                "descriptor": self._descriptor,
                "seq_num": len(self._given),
                "time": now,
                "data": data,
                "timestamps": dict.fromkeys(data, now),
                "filled": {},
            },
        )

    def _summary(self) -> dict[str, Any]:
        classified = [d for d in self._given if d["status"] == "classified"]
        labels = sorted({d["disk_number"] for d in classified})
        summary = {
            "labels": labels,
            "counts": {str(n): sum(d["disk_number"] == n for d in classified) for n in labels},
            "flags": dict(Counter(flag for d in self._given for flag in d["flags"].split(",") if flag)),
            "model": self._model,
            "model_version": "1",
            "weights_sha256": "0" * 64,
            "frames": len(self._given),
            "classified": len(classified),
            "flagged": sum(d["status"] == "flagged" for d in self._given),
            "deferred": sum(d["status"] == "deferred" for d in self._given),
        }
        if classified:
            summary["min_confidence"] = min(d["confidence"] for d in classified)
        return summary


def good(disk_number: int, confidence: float = 0.9, flags: str = "") -> tuple[str, int, float, str]:
    """Give the result of a classified frame."""
    return ("classified", disk_number, confidence, flags)


def documents_of(
    uid: str, seq_nums: Sequence[int], folder: Path | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Give the documents of a run with the number x = 0, 1, ... and, in a folder, frames of x."""
    number = {"dtype": "number", "shape": [], "source": "test"}
    image = {
        "dtype": "array",
        "dtype_numpy": "<f4",
        "shape": [ROWS, COLUMNS],
        "external": "FILESTORE:",
        "source": "test",
    }
    keys = {"x": number} if folder is None else {"x": number, "det_image": image}
    events: list[tuple[str, dict[str, Any]]] = []
    for x, seq_num in enumerate(seq_nums):
        data: dict[str, Any] = {"x": x}
        if folder is not None:
            path = folder / f"{uid}-{x}.h5"
            with h5py.File(path, "w") as file:
                file["/entry/data/data"] = np.full((1, ROWS, COLUMNS), x, dtype="<f4")
            resource = {
                "uid": f"r{x}-{uid}",
                "run_start": uid,
                "spec": "AD_HDF5",
                "root": str(folder),
                "resource_path": path.name,
                "resource_kwargs": {"chunk_shape": [1]},
                "path_semantics": "posix",
            }
            data["det_image"] = f"r{x}-{uid}/0"
            datum = {"resource": resource["uid"], "datum_id": data["det_image"], "datum_kwargs": {}}
            events += [("resource", resource), ("datum", datum)]
        event = {
            "uid": f"e{x}-{uid}",
            "descriptor": f"d-{uid}",
            "seq_num": seq_num,
            "time": 3.0 + x,
            "data": data,
            "timestamps": dict.fromkeys(data, 3.0 + x),
            "filled": {"det_image": False} if folder is not None else {},
        }
        events.append(("event", event))
    descriptor = {
        "uid": f"d-{uid}",
        "run_start": uid,
        "time": 2.0,
        "name": "primary",
        "data_keys": keys,
        "configuration": {},
        "object_keys": {"x": ["x"]},
        "hints": {},
    }
    stop = {
        "uid": f"s-{uid}",
        "run_start": uid,
        "time": 9.0,
        "exit_status": "success",
        "num_events": {"primary": max(seq_nums, default=0)},
    }
    return [("start", {"uid": uid, "time": 1.0}), ("descriptor", descriptor), *events, ("stop", stop)]
