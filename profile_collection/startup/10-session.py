"""The RunEngine, the live classifier and the storage, by the settings: docs/how-to/settings.md.

$SPECKLE_DATA, for one, says where the data are. After the imports, since the classifier loads in the
background and would slow them down.
"""

from speckle_plugin.session import start_session
from speckle_plugin.settings import read_settings

session = start_session(profile=read_settings().profile or "speckle")
RE = session.RE
catalog = session.catalog
