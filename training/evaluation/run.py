"""The whole evaluation of a bundle: the chosen studies, and what was run where."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from speckle_plugin.network import Bundle
from speckle_plugin.network.engines import make_engine
from speckle_plugin.solving import SolverPool
from training.evaluation.solved import SolverStudy
from training.evaluation.studies import STUDIES
from training.evaluation.study import Study, ideal_recipe_of
from training.progress import Report

__all__ = ["evaluate_bundle"]


def evaluate_bundle(
    bundle: Bundle,
    per_class: int,
    seeds: Sequence[int],
    studies: Sequence[str] = tuple(STUDIES),
    report: Report | None = None,
    keep: Callable[[dict[str, Any]], object] | None = None,
    solve_frames: int = 0,
    alone: bool = False,
) -> dict[str, Any]:
    """Run studies on a bundle.

    Parameters
    ----------
    bundle : Bundle
    per_class : int
        Frames of each disk number in every set.
    seeds : sequence of int
    studies : sequence of str
        Names of `training.evaluation.studies.STUDIES`.
    report : callable, optional
        Told of the progress.
    keep : callable, optional
        Given the results so far after every study, so that one that fails costs only itself.
    solve_frames : int
        Frames of each set that are solved beside the network; 0 for none.
    alone : bool
        As of :class:`training.evaluation.study.Study`.

    Returns
    -------
    dict
        Plain numbers: `about`, and one entry for each study.

    Raises
    ------
    ValueError
        If a seed is the one of the training, or the bundle does not say how it was trained.
    """
    recipe = ideal_recipe_of(bundle)
    if bundle.training.get("seed") in seeds:
        raise ValueError(f"the seed {bundle.training['seed']} is that of the training: give other seeds")
    engine = make_engine(bundle)
    about = {
        "name": bundle.name,
        "version": bundle.version,
        "sha256": bundle.sha256,
        "frames of each disk number": per_class,
        "frames of each set that were solved": solve_frames,
        "seeds": ", ".join(map(str, seeds)),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{engine.device}, {engine.name} {engine.precision}, Python {platform.python_version()}",
    }
    if alone:
        about["measured"] = "the network alone, without what was fitted beside it"
    results: dict[str, Any] = {"about": about}
    with SolverPool(os.cpu_count() or 1) as pool:  # starts its processes with the first frame
        solver = SolverStudy(pool, solve_frames) if solve_frames else None
        study = Study(bundle, recipe, per_class, tuple(seeds), report, solver, alone=alone)
        for name in STUDIES:
            if name in studies:
                results[name] = STUDIES[name](study)
                if keep is not None:
                    keep(results)
    return results
