"""Runs in Tiled: the store, the callback that saves, the queries that find runs and frames again."""

from speckle_plugin.store.lock import StorageError
from speckle_plugin.store.metadata import SharedMetadata
from speckle_plugin.store.profile import write_profile
from speckle_plugin.store.read.export import FRAME_SUFFIXES, TABLE_SUFFIXES, export_table
from speckle_plugin.store.read.frames import FRAME_COLUMNS, find_frames, frames_of, read_frames
from speckle_plugin.store.read.queries import find_runs
from speckle_plugin.store.read.stored_run import StoredRun
from speckle_plugin.store.read.xarrays import frames_to_xarray
from speckle_plugin.store.stores import Store, TiledStore, connect
from speckle_plugin.store.write.replay import replay
from speckle_plugin.store.write.saver import RunSaver

__all__ = [
    "FRAME_COLUMNS",
    "FRAME_SUFFIXES",
    "TABLE_SUFFIXES",
    "RunSaver",
    "SharedMetadata",
    "StorageError",
    "Store",
    "StoredRun",
    "TiledStore",
    "connect",
    "export_table",
    "find_frames",
    "find_runs",
    "frames_of",
    "frames_to_xarray",
    "read_frames",
    "replay",
    "write_profile",
]
