"""The live figure: what people see while they measure, drawn by a process of its own.

A display may fail, hang or be closed; the scan neither waits for it nor notices.
"""

from speckle_plugin.display.attached import AttachedFigure
from speckle_plugin.display.live_figure import LiveFigure
from speckle_plugin.display.place import NoDisplayError, Place, Wanted, choose_place

__all__ = ["AttachedFigure", "LiveFigure", "NoDisplayError", "Place", "Wanted", "choose_place"]
