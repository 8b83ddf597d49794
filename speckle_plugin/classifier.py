"""The classifier: raw frames in, disk numbers with their probabilities out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speckle_plugin.engines import Engine, make_engine
from speckle_plugin.models import Bundle, find_bundle
from speckle_plugin.preprocessing import FrameGeometry, prepare

__all__ = ["Classifier", "Posterior"]


@dataclass(frozen=True, eq=False)
class Posterior:
    """What the network says of N frames.

    Parameters
    ----------
    classes : tuple of int
    probabilities : array, shape (N, classes), float32
        Calibrated by the bundle's temperature; each row sums to 1.
    """

    classes: tuple[int, ...]
    probabilities: NDArray[np.float32]

    @property
    def disk_number(self) -> NDArray[np.int64]:
        """Most probable disk number of each frame, shape (N,)."""
        return np.asarray(self.classes)[self.probabilities.argmax(axis=1)]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """Probability of that disk number, shape (N,)."""
        return self.probabilities.max(axis=1)

    @property
    def entropy(self) -> NDArray[np.float32]:
        """Entropy of the probabilities in nats, shape (N,)."""
        p = np.maximum(self.probabilities, np.finfo(np.float32).tiny)
        return -(p * np.log(p)).sum(axis=1)


class Classifier:
    """A bundle and the engine that runs it.

    Parameters
    ----------
    bundle : Bundle, str, path or None
        The bundle, the name of a shipped one, or the path of one; None for the default.
    engine : str or Engine
        Name of the engine, or an engine of one's own.
    """

    def __init__(self, bundle: Bundle | str | None = None, engine: str | Engine = "auto") -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else find_bundle(bundle)
        self.engine = make_engine(self.bundle, engine) if isinstance(engine, str) else engine

    def prepare(self, frames: ArrayLike, geometry: FrameGeometry) -> NDArray[np.float32]:
        """Make the network's inputs, shape (N, views, rows, columns), of raw frames."""
        return prepare(frames, self.bundle.preprocessing, geometry)

    def infer(self, inputs: NDArray[np.float32]) -> Posterior:
        """Classify prepared inputs, shape (N, views, rows, columns).

        The views of a frame are independent given the disk number, so their posteriors
        multiply (all disk numbers being equally probable beforehand).
        """
        count, views = inputs.shape[:2]
        logits = self.engine.logits(inputs.reshape(count * views, *inputs.shape[2:]))
        if logits.shape != (count * views, len(self.bundle.classes)):
            raise RuntimeError(
                f"the engine {self.engine.name!r} gave logits of shape {logits.shape}, "
                f"not {(count * views, len(self.bundle.classes))}"
            )
        log_p = _log_softmax(logits / self.bundle.temperature)
        joined = _log_softmax(log_p.reshape(count, views, -1).sum(axis=1))
        return Posterior(self.bundle.classes, np.exp(joined).astype(np.float32))

    def classify(self, frames: ArrayLike, geometry: FrameGeometry) -> Posterior:
        """Classify raw frames, shape (N, rows, columns) or (rows, columns)."""
        return self.infer(self.prepare(frames, geometry))


def _log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted, dtype=np.float64).sum(axis=-1, keepdims=True))
