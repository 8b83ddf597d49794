"""What is found of an installation and its surroundings, and what to do about it: `speckle doctor`."""

from speckle_plugin.doctor.finding import Finding, Level
from speckle_plugin.doctor.rounds import examine

__all__ = ["Finding", "Level", "examine"]
