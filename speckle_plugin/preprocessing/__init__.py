"""What happens to a frame before the network sees it: the same live, stored and in training."""

from speckle_plugin.preprocessing.prepare import (
    FrameGeometry,
    Preprocessing,
    hash_mask,
    map_spacing,
    prepare,
    settings_from_dict,
    usable_pixels,
    used_values,
    view_shape,
)

__all__ = [
    "FrameGeometry",
    "Preprocessing",
    "hash_mask",
    "map_spacing",
    "prepare",
    "settings_from_dict",
    "usable_pixels",
    "used_values",
    "view_shape",
]
