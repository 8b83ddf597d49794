"""The RunEngine, the live classifier, and what is shown of a scan: one table, one figure, one progress bar.

After the imports, since the classifier loads in the background and would slow them down.
"""

from bluesky.callbacks.best_effort import BestEffortCallback
from rich.console import Console

from speckle_plugin.live import LiveTable
from speckle_plugin.live.progress import progress_bars
from speckle_plugin.session import start_session

_settings, _console = read_settings(), Console()
session = start_session(store=_store, profile=_settings.profile or "speckle", table=False, keep_metadata=True)
RE = session.RE
catalog = session.catalog
if _settings.table:
    session.live.subscribe(LiveTable(_console))
RE.waiting_hook = progress_bars(_console)

# The baseline around the rows, and bec.peaks. Title and table are the live table's; bec.enable_plots() has
# the readings plotted beside the live figure.
bec = BestEffortCallback(table_enabled=False)
bec.disable_heading()
bec.disable_plots()
session.live.subscribe(bec)
