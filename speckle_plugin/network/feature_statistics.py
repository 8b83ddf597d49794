"""How the network's features of known frames are distributed, and how far others lie from them.

The pooled features before the last layer are described by a Gaussian whose covariance has
a low-rank part and a spherical rest. A frame far out is unlike what the network was
trained on, whatever its confidence says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.blas_threads import one_blas_thread

__all__ = ["FeatureStatistics"]


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Mean and covariance of features, and the distance that counts as out of distribution.

    Parameters
    ----------
    mean : array, shape (features,)
    components : array, shape (rank, features)
        Orthonormal directions of the largest variances.
    variances : array, shape (rank,)
        Along those directions.
    noise_variance : float
        Along each of all other directions.
    threshold : float
        Distances above it are out of distribution; 1 of 100 known frames has one.

    Notes
    -----
    Source: Tipping and Bishop, Probabilistic principal component analysis, J. R. Stat. Soc. B 61,
    611 (1999); as a score of novelty: Lee et al., NeurIPS 31 (2018).
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    variances: NDArray[np.float32]
    noise_variance: float
    threshold: float

    def distances(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give squared Mahalanobis distances by the number of features: about 1 for known frames.

        Parameters
        ----------
        features : array, shape (N, features)

        Returns
        -------
        array, shape (N,), float32
        """
        centered = features.astype(np.float64) - self.mean
        with one_blas_thread():
            along = centered @ self.components.T.astype(np.float64)
        rest = np.maximum((centered**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
        squared = (along**2 / self.variances).sum(axis=1) + rest / self.noise_variance
        return (squared / self.mean.size).astype(np.float32)
