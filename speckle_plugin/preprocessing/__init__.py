"""What happens to a frame before the network sees it: the same live, stored and in training."""

from speckle_plugin.preprocessing.correction import Correction
from speckle_plugin.preprocessing.geometry import FrameGeometry, hash_mask
from speckle_plugin.preprocessing.patterson import map_spacing
from speckle_plugin.preprocessing.prepare import prepare, view_shape
from speckle_plugin.preprocessing.quadrants import usable_pixels, used_values
from speckle_plugin.preprocessing.raw_crop import RawCrop, settings_from_dict
from speckle_plugin.preprocessing.settings import Preprocessing

__all__ = [
    "Correction",
    "FrameGeometry",
    "Preprocessing",
    "RawCrop",
    "hash_mask",
    "map_spacing",
    "prepare",
    "settings_from_dict",
    "usable_pixels",
    "used_values",
    "view_shape",
]
