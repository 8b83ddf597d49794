"""The sample from one frame: every disk, by the methods of crystallography, with a certificate."""

from speckle_plugin.structure.information import expected_gains
from speckle_plugin.structure.observation import check_geometry
from speckle_plugin.structure.settings import Prior, SolveSettings
from speckle_plugin.structure.solver import solve
from speckle_plugin.structure.structure import Certificate, Structure

__all__ = [
    "Certificate",
    "Prior",
    "SolveSettings",
    "Structure",
    "check_geometry",
    "expected_gains",
    "solve",
]
