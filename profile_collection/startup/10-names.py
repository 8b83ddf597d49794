"""What is typed: bluesky's plans, plans that classify, queries of what is stored, and devices."""

import bluesky.plan_stubs as bps
import bluesky.plans as bp
from bluesky.plans import count, grid_scan, scan

from simulated_devices import FlySpeckleDetector, SampleMap, SpeckleDetector, SpeckleSample
from speckle_plugin.explain.solved_frame import solve_frame
from speckle_plugin.plans import classify_count, classify_fly, classify_grid_scan, classify_scan
from speckle_plugin.store import export_table, find_frames, find_runs, frames_to_xarray
