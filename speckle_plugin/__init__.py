"""Read coherent X-ray speckle patterns while they are measured."""

# TensorFlow carries a SQLite of its own, without the full-text search that Tiled's catalog
# needs. The first one loaded serves the whole process, so Python's comes before TensorFlow.
import sqlite3  # noqa: F401
import sys

# Importing OpenVINO reports that to Google, from a forked copy of this process, which then runs
# what is to be done at the end of this one. Without this package it does neither.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
