"""What the studies of a bundle share: its frames, how many of them, who else looks at them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from training.evaluation.measure import Predictions, predict
from training.evaluation.solved import SolverStudy
from training.frames import balanced_set
from training.progress import Report
from training.recipe import FrameRecipe, frame_recipe_of

__all__ = ["Study", "ideal_recipe_of"]


@dataclass(frozen=True)
class Study:
    """What the studies share.

    Parameters
    ----------
    bundle : Bundle
    recipe : FrameRecipe
        The bundle's own frames, without noise, offset and mask.
    per_class : int
        Frames of each disk number.
    seeds : tuple of int
        Of the test sets of `by_family`; the other studies take the first.
    report : callable, optional
        Told of the progress.
    solver : SolverStudy, optional
        Solves a few of the frames of each set as well.
    alone : bool
        The network is measured without what was fitted beside it: heads, odd frames, confidences.
    """

    bundle: Bundle
    recipe: FrameRecipe
    per_class: int = 100
    seeds: tuple[int, ...] = (1, 2, 3)
    report: Report | None = None
    solver: SolverStudy | None = None
    alone: bool = False

    def classifier(self, bundle: Bundle | None = None) -> Classifier:
        """Make what classifies: of the bundle, or of a variant of it."""
        return Classifier(bundle or self.bundle, alone=self.alone)

    def measure(
        self, what: str, classifier: Classifier, seed: int | None = None, **changes: Any
    ) -> Predictions:
        """Classify fresh frames of the recipe with some fields changed."""
        recipe = replace(self.recipe, **changes)
        frames = balanced_set(recipe, self.per_class, self.seeds[0] if seed is None else seed, "test")
        total = self.per_class * len(recipe.disk_numbers)
        return predict(classifier, frames, total, self.report, what)

    def sample(self, what: str, classifier: Classifier, **changes: Any) -> Predictions:
        """Do the same with a quarter of the frames, for studies that vary a number."""
        return replace(self, per_class=max(1, self.per_class // 4)).measure(what, classifier, **changes)

    def solved(self, what: str, **changes: Any) -> dict[str, Any]:
        """Solve a few of these frames, for an entry `structure` of the results; none without a solver."""
        if self.solver is None:
            return {}
        recipe = replace(self.recipe, **changes)
        return {"structure": self.solver.measure(recipe, self.seeds[0], report=self.report, what=what)}


def ideal_recipe_of(bundle: Bundle) -> FrameRecipe:
    """Give the frames of the bundle's training recipe: of an ideal world, without noise, offset and mask.

    Raises
    ------
    ValueError
        If the bundle does not say on which simulated frames it was trained.
    """
    return replace(frame_recipe_of(bundle).ideal, photons=(), beam_offset=0.0, masked_share=0.0)
