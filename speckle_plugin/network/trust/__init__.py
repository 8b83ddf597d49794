"""What was fitted beside a bundle, so that it is known which frames it does not know."""

from speckle_plugin.network.trust.calibration import Calibration
from speckle_plugin.network.trust.file import (
    Trust,
    find_trust,
    load_trust,
    save_trust,
    trust_path,
)
from speckle_plugin.network.trust.oddness import Look, Oddness, Verdict
from speckle_plugin.network.trust.statistics import frame_statistics, masked_share, range_of, views_of

__all__ = [
    "Calibration",
    "Look",
    "Oddness",
    "Trust",
    "Verdict",
    "find_trust",
    "frame_statistics",
    "load_trust",
    "masked_share",
    "range_of",
    "save_trust",
    "trust_path",
    "views_of",
]
