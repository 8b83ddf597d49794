"""The network and the files it travels in."""

from speckle_plugin.network.bundle import (
    Bundle,
    BundleError,
    find_bundle,
    load_bundle,
    save_bundle,
    shipped_bundles,
    shipped_classes,
    weights_of,
)
from speckle_plugin.network.feature_statistics import FeatureStatistics
from speckle_plugin.network.resnet import build_resnet50, widened

__all__ = [
    "Bundle",
    "BundleError",
    "FeatureStatistics",
    "build_resnet50",
    "find_bundle",
    "load_bundle",
    "save_bundle",
    "shipped_bundles",
    "shipped_classes",
    "weights_of",
    "widened",
]
