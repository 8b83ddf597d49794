"""The RunEngine, the live classifier and the storage. $SPECKLE_DATA says where the data are.

After the imports, since the classifier loads in the background and would slow them down.
"""

import os

from speckle_plugin.session import start_session

session = start_session(os.environ.get("SPECKLE_DATA", "~/speckle-data"), profile="speckle")
RE = session.RE
catalog = session.catalog
