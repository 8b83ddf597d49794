"""Options that say what is known of frames beside their pixels, for the structure solution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from speckle_plugin.structure import SolveSettings

__all__ = [
    "BudgetOption",
    "DarkOption",
    "NoiseOption",
    "PointSpreadOption",
    "ReadoutOption",
    "SmallestOption",
    "WorkersOption",
    "solve_settings",
]

NoiseName = Literal["auto", "none", "counts", "rounded"]

NoiseOption = Annotated[
    NoiseName,
    typer.Option(help="counts are photons, none are calculated frames; auto: integers are counts."),
]
DarkOption = Annotated[float, typer.Option(help="Mean of what the detector adds to each pixel.")]
ReadoutOption = Annotated[float, typer.Option(help="Standard deviation of its noise.")]
PointSpreadOption = Annotated[float, typer.Option(help="Standard deviation of its blur, in pixels.")]
SmallestOption = Annotated[
    float | None,
    typer.Option(
        help="No disk of the sample has a smaller radius.", show_default="a tenth of the mean that is found"
    ),
]
BudgetOption = Annotated[float, typer.Option(help="Seconds for a frame, after which it is undecided.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Processes that solve.", show_default="one for each core")
]


def solve_settings(
    noise: NoiseName,
    dark_level: float,
    readout_noise: float,
    point_spread: float,
    smallest_radius: float | None,
    budget: float,
) -> SolveSettings:
    """Give the settings that options state.

    Raises
    ------
    ValueError
        If one is outside of its range.
    """
    from speckle_plugin.structure import SolveSettings

    return SolveSettings(
        noise=noise,
        dark_level=dark_level,
        readout_noise=readout_noise,
        point_spread=point_spread,
        smallest_radius=smallest_radius,
        budget=budget,
    )
