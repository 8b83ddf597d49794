"""The Tiled server of a data directory, and what guards it."""
