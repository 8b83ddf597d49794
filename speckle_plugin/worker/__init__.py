"""Classify what other processes measure: `speckle worker`, on this machine or on another one."""

from speckle_plugin.worker.worker import Worker

__all__ = ["Worker"]
