"""What is typed: bluesky's plans, plans that classify, and queries of what is stored."""

import bluesky.plan_stubs as bps
import bluesky.plans as bp
from bluesky.plans import count, grid_scan, scan

from speckle_plugin.plans import classify_count, classify_grid_scan, classify_scan
from speckle_plugin.storage import find_frames, find_runs
