"""Runs in Tiled: the store, the callback that saves, the queries that find runs and frames again."""

from speckle_plugin.storage.databroker_profile import write_profile
from speckle_plugin.storage.frames import FRAME_COLUMNS, find_frames, read_frames
from speckle_plugin.storage.lock import StorageError
from speckle_plugin.storage.queries import find_runs
from speckle_plugin.storage.replay import replay
from speckle_plugin.storage.server import Store, TiledStore, connect
from speckle_plugin.storage.writer import RunSaver

__all__ = [
    "FRAME_COLUMNS",
    "RunSaver",
    "StorageError",
    "Store",
    "TiledStore",
    "connect",
    "find_frames",
    "find_runs",
    "read_frames",
    "replay",
    "write_profile",
]
