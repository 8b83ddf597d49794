"""What is subscribed to a RunEngine: the live classifier, and displays of its results."""

from speckle_plugin.live.pipeline import LiveClassifier
from speckle_plugin.live.second_opinion import SecondOpinion
from speckle_plugin.live.settings import PipelineSettings
from speckle_plugin.live.table import LiveTable
from speckle_plugin.live.timing import RunReport

__all__ = ["LiveClassifier", "LiveTable", "PipelineSettings", "RunReport", "SecondOpinion"]
