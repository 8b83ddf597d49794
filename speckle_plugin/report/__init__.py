"""A stored run as one HTML file, with its pictures inside: to be mailed, kept, or printed."""

from speckle_plugin.report.page import write_report

__all__ = ["write_report"]
