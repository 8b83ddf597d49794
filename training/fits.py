"""What scikit-learn fits, as plain arrays, which need no scikit-learn to run."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from speckle_plugin.blas_threads import one_blas_thread
from speckle_plugin.network import FeatureStatistics

__all__ = ["fit_layers", "fit_statistics"]

BATCH = 128


def fit_statistics(rows: NDArray[np.floating], rank: int) -> FeatureStatistics:
    """Fit a Gaussian to rows, shape (N, n): a full covariance along `rank` axes, one variance for the rest.

    Its threshold is infinite: that is for frames to tell to which nothing was fitted.
    """
    model = PCA(n_components=rank, random_state=0).fit(rows.astype(np.float64))
    return FeatureStatistics(
        mean=model.mean_.astype(np.float32),
        components=model.components_.astype(np.float32),
        variances=model.explained_variance_.astype(np.float32),
        noise_variance=float(model.noise_variance_),
        threshold=np.inf,
    )


def fit_layers(
    inputs: NDArray[np.float32],
    kinds: NDArray[np.int64],
    hidden: tuple[int, ...],
    decay: float,
    epochs: int,
) -> list[NDArray[np.float32]]:
    """Fit a perceptron that tells the kinds of inputs, shape (N, inputs).

    Returns
    -------
    list of array
        Weights and biases in turns, as the perceptrons of a trust file are kept; the outputs are the kinds
        that occur, in rising order.
    """
    perceptron = MLPClassifier(hidden, alpha=decay, batch_size=BATCH, max_iter=epochs, random_state=0)
    with warnings.catch_warnings(), one_blas_thread():  # the layers are too small for more threads
        warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs, and no more, are wanted
        perceptron.fit(inputs, kinds)
    pairs = zip(perceptron.coefs_, perceptron.intercepts_, strict=True)
    return [np.asarray(layer, np.float32) for pair in pairs for layer in pair]
