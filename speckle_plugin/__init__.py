"""Read coherent X-ray speckle patterns while they are measured."""

# TensorFlow carries a SQLite of its own, without the full-text search that Tiled's catalog
# needs. The first one loaded serves the whole process, so Python's comes before TensorFlow.
import sqlite3  # noqa: F401

from speckle_plugin.openvino_reports import refuse_reports

refuse_reports()  # here, since whoever imports OpenVINO later must find it done
