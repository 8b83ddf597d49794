"""Results that a test chooses, in the place of the live pipeline's."""

from __future__ import annotations

import itertools
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from speckle_plugin import schema
from tests.testing.engine import CLASSES

__all__ = ["FakeClassifier", "good", "possible_numbers"]

Callback = Callable[[str, dict[str, Any]], None]


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
            "possible": schema.join_numbers(possible_numbers(disk_number, confidence)),
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
        odd = [d for d in classified if "out_of_distribution" in d["flags"]]
        known = [d for d in classified if d not in odd]
        possible = Counter(n for d in known for n in schema.split_numbers(d["possible"]))
        labels = sorted({d["disk_number"] for d in known})
        summary = {
            "labels": labels,
            "counts": {str(n): sum(d["disk_number"] == n for d in known) for n in labels},
            **({"odd_counts": {str(d["disk_number"]): 1 for d in odd}} if odd else {}),
            "flags": dict(Counter(flag for d in self._given for flag in d["flags"].split(",") if flag)),
            **({"possible": {str(n): count for n, count in possible.items()}} if possible else {}),
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


def possible_numbers(disk_number: int, confidence: float) -> tuple[int, ...]:
    """Give the numbers that a fake classifier finds possible: of an unsure label the neighbours too."""
    reach = 1 if confidence < 0.5 else 0
    return tuple(n for n in CLASSES if disk_number and abs(n - disk_number) <= reach)
