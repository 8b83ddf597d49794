"""The data directory, by the settings ($SPECKLE_DATA, for one: docs/how-to/settings.md).

First, since its server takes seconds to start, in a process of its own. What the other files need is
imported meanwhile.
"""

import os
from importlib import import_module

# The devices of this profile are simulated. Leave this line out for devices with EPICS channels: ophyd then
# looks for a client library, which takes a second.
os.environ.setdefault("OPHYD_CONTROL_LAYER", "dummy")

from speckle_plugin.settings import read_settings

_NEEDED = (
    "bluesky.plans",
    "bluesky.callbacks.best_effort",
    "simulated_devices",
    "speckle_plugin.explain.solved_frame",
    "speckle_plugin.plans",
    "speckle_plugin.session",
)

_store = read_settings().open_store(meanwhile=lambda: [import_module(name) for name in _NEEDED])
