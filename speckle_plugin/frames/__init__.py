"""Pixels, from wherever documents point to and from files of unknown origin."""
