"""Documents: a list of those that come, and a run's that a test may send."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import event_model
import h5py
import numpy as np

from tests.testing.camera import COLUMNS, ROWS

__all__ = ["Documents", "documents_of"]


class Documents(list[tuple[str, dict[str, Any]]]):
    """A subscriber that keeps and validates what it gets."""

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document."""
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
        self.append((name, doc))

    def of(self, name: str) -> list[dict[str, Any]]:
        """Give all documents of one kind."""
        return [doc for kind, doc in self if kind == name]

    def rows(self, run_uid: str | None = None) -> list[dict[str, Any]]:
        """Give the data of the events of the classification stream."""
        return self.rows_of("classification", run_uid)

    def rows_of(self, stream: str, run_uid: str | None = None) -> list[dict[str, Any]]:
        """Give the data of the events of a stream."""
        descriptors = {
            d["uid"]
            for d in self.of("descriptor")
            if d["name"] == stream and run_uid in (None, d["run_start"])
        }
        return [e["data"] for e in self.of("event") if e["descriptor"] in descriptors]

    def frame_counts(self) -> list[dict[str, Any]]:
        """Give the summaries of the stop documents, each checked to balance."""
        summaries = [doc["classification"] for doc in self.of("stop") if "classification" in doc]
        for summary in summaries:
            parts = summary["classified"] + summary["flagged"] + summary["deferred"]
            assert summary["frames"] == parts
        return summaries


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
