"""`speckle complete`: label the frames of stored runs that have no label yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from speckle_plugin.cli.console import print_table, progress_bar, remark, table
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.frame_options import MaskOption, MaskPolarityOption, mask_of
from speckle_plugin.cli.named_runs import (
    NOT_COMPLETE,
    EverythingOption,
    leases_of,
    name_of,
    named_runs,
    replay_journals,
)
from speckle_plugin.cli.options import EngineName, parse_beam_center
from speckle_plugin.cli.store_options import DEFAULT_DATA, DataOption, ServerOption, open_store

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun

    from speckle_plugin.network import Bundle
    from speckle_plugin.network.classifier import Classifier
    from speckle_plugin.reprocess import Completion
    from speckle_plugin.store import Store

__all__ = ["complete", "recorded_bundle"]


@clear_errors
def complete(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[UID|SCAN_ID]...",
            help="Runs, by their uid or its beginning, or by scan id.",
            show_default="all runs with deferred frames",
        ),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    server: ServerOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="See: speckle models.",
            show_default="the one that classified the run, if it is shipped; else by k step",
        ),
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="What runs the network.")] = "auto",
    mask: MaskOption = None,
    mask_polarity: MaskPolarityOption = "left-out",
    beam_center: Annotated[
        str | None,
        typer.Option(
            metavar="ROW,COLUMN",
            help="Pixel of the beam, for detectors that do not state it.",
            show_default="that of the session",
        ),
    ] = None,
    everything: EverythingOption = False,
) -> None:
    """Label the frames of stored runs that have no label yet, from the frames as they are stored.

    Frames are left without a label (status **deferred**) when they come faster than they can be classified,
    when the classifier fails, and when the process is killed. Journals that a killed process left in the data
    directory are replayed first, but not into another server (**--server**): speckle replay does that.

    The labels go into a new stream of the run, classification_2 and so on, which holds all earlier results
    too; nothing is overwritten, and queries read the newest. Model and masks must be those of the session, as
    must a beam centre, if one is given; with **--all** every frame of the runs is classified again, by any
    model. Stopped, the run that it was at stays as it was. A run that a worker is at is left to it.

    **Examples**: whatever is left; two runs; every frame of a run by another network.

        speckle complete --data demo-output

        speckle complete --data demo-output 12 4f0c6b2e

        speckle complete --data demo-output 12 --all --model my-network/quadrant.bundle
    """
    from speckle_plugin.network import find_bundle

    center = None if beam_center is None else parse_beam_center(beam_center)
    left_out = mask_of(mask, mask_polarity)
    if everything and not runs:
        raise ValueError(
            "--all needs the runs whose frames are to be classified again: give uids or scan ids"
        )
    bundle = None if model is None else find_bundle(model)
    with open_store(data, server) as store:
        store.check_writable()
        whole = server is not None or replay_journals(store)
        chosen = _find(store, runs or [])
        if not chosen:
            remark("nothing to do: no run has deferred frames")
        with progress_bar() as progress:
            task = progress.add_task("loading the network", total=None, numbers="")

            def report(run: BlueskyRun, done: int, total: int) -> None:
                progress.update(task, description=name_of(run), completed=done, total=total)

            from speckle_plugin.reprocess import complete_runs

            networks = _Networks(bundle, engine)
            outcomes = list(
                complete_runs(
                    chosen,
                    networks.classifier_of,
                    masks=left_out,
                    beam_center=center,
                    everything=everything,
                    report=report,
                    leases=leases_of(store),
                )
            )
            without_label = {run.start["uid"]: _count_unlabelled(run) for run in chosen}
    if outcomes:
        _tell(outcomes, without_label)
    if not whole or any(outcome.error or outcome.deferred for outcome in outcomes):
        raise typer.Exit(NOT_COMPLETE)


def _find(store: Store, wanted: list[str]) -> list[BlueskyRun]:
    """Give the runs named, or those with deferred frames."""
    from speckle_plugin.store import find_runs

    return named_runs(store, wanted) if wanted else list(find_runs(store.runs, deferred=True).values())


class _Networks:
    """The classifier for each run, loaded once: the one asked for, or the one that the run names."""

    def __init__(self, bundle: Bundle | None, engine: str) -> None:
        self._bundle, self._engine = bundle, engine
        self._loaded: dict[str, Classifier] = {}

    def classifier_of(self, run: BlueskyRun) -> Classifier:
        """Give the classifier for a run, and say which it is when it is loaded."""
        from speckle_plugin.network.choosing import open_classifier

        bundle = self._bundle or recorded_bundle(run)
        key = "" if bundle is None else bundle.sha256
        if key not in self._loaded:
            opened = open_classifier(None if bundle is None else bundle.name, self._engine, bundle)
            others = "" if bundle else ", and others by the k step of the detector"
            self._loaded[key] = opened
            remark(
                f"model: {opened.bundle.name} {opened.bundle.version} ({opened.bundle.sha256[:12]}){others}"
            )
        return self._loaded[key]


def recorded_bundle(run: BlueskyRun) -> Bundle | None:
    """Give the shipped bundle that a run's summary names, if it has the same weights.

    None where there is none, and where the detector's k step chose: it chooses again.
    """
    from speckle_plugin.network import find_bundle, shipped_bundles
    from speckle_plugin.schema import CHOSEN_AMONG
    from speckle_plugin.store import StoredRun

    summary = StoredRun(run).summary
    if summary.get("model") in shipped_bundles() and not summary.get(CHOSEN_AMONG):
        bundle = find_bundle(summary["model"])
        if bundle.sha256 == summary.get("weights_sha256"):
            return bundle
    return None


def _count_unlabelled(run: BlueskyRun) -> int:
    from speckle_plugin.schema import SUMMARY

    summary = ((run.metadata.get("stop") or {}).get(SUMMARY)) or {}
    return int(summary.get("frames", 0)) - int(summary.get("classified", 0))


def _tell(outcomes: list[Completion], without_label: dict[str, int]) -> None:
    numbers = ("frames", "newly classified", "flagged", "still deferred")
    shown = table("scan_id", "uid", "stream", *numbers, right=("scan_id", *numbers))
    for outcome in outcomes:
        counts = (outcome.frames, outcome.classified, outcome.flagged, outcome.deferred)
        shown.add_row(str(outcome.scan_id), outcome.run_uid[:8], outcome.stream, *map(str, counts))
    print_table(shown)
    for outcome in outcomes:
        if outcome.error:
            typer.secho(f"Error: {' '.join(outcome.error.split())}", err=True, fg="red")
        elif not (outcome.classified or outcome.flagged or outcome.kept):
            unlabelled = without_label.get(outcome.run_uid, 0)
            if unlabelled:
                remark(
                    f"nothing could be done for the run {outcome.run_uid[:8]}: {unlabelled} of its frames "
                    "can have no label, for the reasons in their flags (speckle query --frames)"
                )
            else:
                remark(f"the run {outcome.run_uid[:8]} was complete already")
        if outcome.kept:
            remark(
                f"{outcome.kept} frames of the run {outcome.run_uid[:8]} could not be labelled again, "
                "and keep their label"
            )
        if outcome.problem:
            uid = outcome.run_uid[:8]
            remark(f"why, of the first such frame of the run {uid}: {outcome.problem}")
            remark(f"when that is mended, have these frames tried again: speckle complete {uid}")
