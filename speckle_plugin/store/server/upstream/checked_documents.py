"""The normalizer of bluesky-tiled-plugins, with fewer checks.

That normalizer (2.0) holds each document against its JSON schema, in Python and in the process that measures,
some of them for each frame. Documents of one stream have one maker: here the first event of a stream is
checked, and the first reference to each file, and all other documents. It would end when that normalizer has
an option for it.

Importing this module imports Tiled.
"""

from __future__ import annotations

from typing import Any

from bluesky_tiled_plugins.writing.tiled_writer import RunNormalizer
from event_model import DocumentNames

__all__ = ["FirstsChecked"]

_MAKERS = {DocumentNames.event: "descriptor", DocumentNames.stream_datum: "stream_resource"}
"""What tells the maker of documents that come for each frame."""


class FirstsChecked(RunNormalizer):
    """A `RunNormalizer` that checks of events and references to frames the first of each stream and file."""

    def __init__(self) -> None:
        super().__init__()
        self._checked: set[tuple[DocumentNames, str]] = set()

    def emit(self, name: DocumentNames, doc: dict[str, Any]) -> None:
        """Send a document to the writer."""
        maker = (name, doc.get(_MAKERS[name], "")) if name in _MAKERS else None
        if maker in self._checked:
            self.dispatcher.process(name, doc)
            return
        super().emit(name, doc)
        if maker is not None:
            self._checked.add(maker)
