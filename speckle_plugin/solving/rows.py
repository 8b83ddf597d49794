"""A structure as a row of the structure stream, and such a row as a structure again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from speckle_plugin.schema import Opinion, structure_keys
from speckle_plugin.solving.pool import Outcome
from speckle_plugin.structure import Certificate, Structure

__all__ = ["opinion_row", "structure_of_row"]

COLUMNS = ("x", "y", "r", "x_error", "y_error", "r_error")
"""What stands in a row of `disks`."""

NUMBERS = (
    "scale",
    "background",
    "k_step",
    "point_spread",
    "residual",
    "z_score",
    "weakest_gain",
    "remaining_gain",
    "hidden_radius",
    "seconds",
)
"""Numbers of a structure that stand in the row under the same name."""

LONGEST_REASON = 500


def opinion_row(outcome: Outcome | str, most_disks: int) -> dict[str, Any]:
    """Give what a row says of a frame's structure, by :func:`speckle_plugin.schema.structure_keys`.

    Parameters
    ----------
    outcome : Structure, FrameError, SolverError or str
        What became of the frame. A FrameError leaves it undecided; after a SolverError, or for a str that
        says why, it is left to be solved later.
    most_disks : int
        Rows of the array of disks; further disks are counted, and not told.

    Returns
    -------
    dict
        Plain values, all but those that name the frame.
    """
    disks = np.full((most_disks, len(COLUMNS)), np.nan)
    row: dict[str, Any] = {
        **dict.fromkeys((*NUMBERS, "mean_radius", "radius_spread", "center_row", "center_column"), np.nan),
        "disk_number": 0,
        "starts": 0,
        "seconds": 0.0,
    }
    if isinstance(outcome, Structure):
        told = np.column_stack([getattr(outcome, name) for name in COLUMNS])[:most_disks]
        disks[: len(told)] = told
        row |= {name: float(getattr(outcome, name)) for name in NUMBERS}
        row |= {
            "certificate": str(outcome.certificate),
            "reason": outcome.reason,
            "disk_number": outcome.disk_number,
            "center_row": float(outcome.beam_center[0]),
            "center_column": float(outcome.beam_center[1]),
            "starts": int(outcome.starts),
        }
        if outcome.disk_number:
            row |= {"mean_radius": float(outcome.r.mean()), "radius_spread": float(outcome.r.std())}
    else:
        undecided = isinstance(outcome, ValueError)
        row |= {"certificate": str(Opinion.UNDECIDED if undecided else Opinion.LEFT), "reason": str(outcome)}
    row |= {"reason": row["reason"][:LONGEST_REASON], "disks": disks.tolist()}
    return {name: row[name] for name in structure_keys(most_disks) if name in row}


def structure_of_row(row: Mapping[str, Any], disks: ArrayLike, seed: int = 0) -> Structure:
    """Give a structure as it was, but for how it came about.

    Parameters
    ----------
    row : mapping
        Of the structure stream.
    disks : array, shape (most disks, 6)
        Of that row.
    seed : int
        Of the random starts.

    Raises
    ------
    ValueError
        If the frame was left.
    """
    if row["certificate"] == Opinion.LEFT:
        raise ValueError(f"frame {row['frame_index']} is not solved yet: {row['reason']}")
    arrays = np.asarray(disks, float)[: int(row["disk_number"])].T
    values: dict[str, Any] = dict(zip(COLUMNS, arrays, strict=True))
    values |= {name: float(row[name]) for name in NUMBERS}
    return Structure(
        **values,
        certificate=Certificate(row["certificate"]),
        reason=str(row["reason"]),
        beam_center=(float(row["center_row"]), float(row["center_column"])),
        starts=int(row["starts"]),
        history=(),
        seed=seed,
    )
