"""Read coherent X-ray speckle patterns while they are measured."""

# TensorFlow carries a SQLite of its own, without the full-text search that Tiled's catalog
# needs. The first one loaded serves the whole process, so Python's comes before TensorFlow.
import sqlite3  # noqa: F401
