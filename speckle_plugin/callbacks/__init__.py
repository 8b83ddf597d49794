"""What is subscribed to a RunEngine: the live classifier, and displays of its results."""

from speckle_plugin.callbacks.live_table import LiveTable
from speckle_plugin.callbacks.pipeline import LiveClassifier
from speckle_plugin.callbacks.pipeline_settings import PipelineSettings
from speckle_plugin.callbacks.run_report import RunReport

__all__ = ["LiveClassifier", "LiveTable", "PipelineSettings", "RunReport"]
