"""`speckle evaluate`: how good a network is, where it fails, and what it does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from speckle_plugin.cli.console import print_table, progress_bar, reporter, stdout, table
from speckle_plugin.cli.errors import clear_errors

__all__ = ["evaluate"]


@clear_errors
def evaluate(
    model: Annotated[
        str | None, typer.Argument(metavar="[NAME|PATH]", help="See: speckle models.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report, its pictures and numbers.", show_default="table of families only"
        ),
    ] = None,
    per_class: Annotated[int, typer.Option(min=2, help="Frames of each disk number in every set.")] = 100,
    seeds: Annotated[str, typer.Option(help="Of the test sets, by commas.")] = "1,2,3",
    solve_frames: Annotated[
        int, typer.Option(min=0, help="Frames of each set that are solved as well, a second each; 0: none.")
    ] = 19,
    only: Annotated[
        list[str] | None,
        typer.Option(help="One study only; may be given again.", show_default="all studies"),
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Without heads, and what else was fitted beside the network.")
    ] = False,
    list_studies: Annotated[bool, typer.Option("--list", help="List the studies.")] = False,
) -> None:
    """Measure a network on fresh simulated frames, and write a report.

    The frames are of the kind that the network was trained on, and of other families; without and with photon
    noise, of other sizes, with the beam off its centre, masked in part, with the beam inside; and frames that
    the network was not made for. Beside it stand baselines without a network, and the structure solution
    (speckle solve) on a few frames of each set. The report is report.md with
    pictures; results.json holds the numbers; both are brought up to date after every study.

    **Example**

        speckle evaluate --out evaluation
        speckle evaluate my-network/quadrant.bundle --only families --seeds 7 --per-class 20
        speckle evaluate quadrant --only families --seeds 7 --alone   # what its heads are worth
    """
    from training.evaluation.studies import STUDIES

    if list_studies:
        listed = table("study", "what it measures")
        for name, study in STUDIES.items():
            listed.add_row(name, (study.__doc__ or "").split("\n")[0])
        print_table(listed)
        return
    unknown = sorted(set(only or ()) - set(STUDIES))
    if unknown:
        raise ValueError(f"there is no study {unknown[0]!r}: expected one of {', '.join(STUDIES)}")
    from speckle_plugin.network import find_bundle
    from training.evaluation.report import write_report
    from training.evaluation.run import evaluate_bundle

    chosen = _numbers(seeds)
    if out is None and "families" not in (only or STUDIES):
        raise ValueError("only the study 'families' has a table to print: give --out FOLDER for the report")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)  # that it can't be made must be known before, not after

    sections: dict[str, list[str]] = {}

    def keep(results: dict[str, Any]) -> None:
        if out is not None:
            write_report(results, out, sections)

    with progress_bar() as progress:
        task = progress.add_task("loading the network", total=None, numbers="")

        report = reporter(progress, task)

        results = evaluate_bundle(
            find_bundle(model), per_class, chosen, only or tuple(STUDIES), report, keep, solve_frames, alone
        )
    _print_families(results)
    if out is not None:
        stdout().print(f"{out / 'report.md'}, {out / 'results.json'}", markup=False, soft_wrap=True)


def _print_families(results: dict[str, Any]) -> None:
    if "families" not in results:
        return
    columns = ("frames", "errors", "accuracy", "within_one", "f1", "expected_calibration_error")
    shown = table("family", "trained on", *columns, right=columns)
    for family, values in results["families"].items():
        numbers = (values["all"][c] for c in columns)
        shown.add_row(
            family,
            "yes" if values["trained_on"] else "no",
            *(f"{n:.4f}" if isinstance(n, float) else str(n) for n in numbers),
        )
    print_table(shown)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"the seeds {text!r} can't be read: give integers by commas, such as 1,2,3"
        ) from None
