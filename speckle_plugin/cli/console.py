"""What commands write with: results to stdout; progress and remarks to stderr."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

__all__ = ["print_table", "progress_bar", "remark", "reporter", "stdout", "table"]

WIDTH_OF_FILES = 200
"""Columns of what is written to a file or pipe, which has no width of its own."""


def stdout() -> Console:
    """Console for results."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_OF_FILES)


def remark(text: str) -> None:
    """Write a line that is not a result, to stderr."""
    typer.echo(text, err=True)


def progress_bar() -> Progress:
    """Give a progress bar, to be used in a `with`; it vanishes when it is done.

    It shows itself in a terminal only. Its tasks have a field `numbers`, shown behind the bar.
    """
    console = Console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def reporter(
    progress: Progress, task: TaskID, words: Mapping[str, str] | None = None
) -> Callable[[str, int, int, dict[str, float]], None]:
    """Give a function that shows in a progress bar what :mod:`training` reports.

    `words` holds what to call something that is being done, where its own name is not to be shown.
    """

    def report(what: str, done: int, total: int, numbers: dict[str, float]) -> None:
        progress.update(
            task,
            description=(words or {}).get(what, what),
            completed=done,
            total=total,
            numbers=", ".join(f"{k} {v:.4g}" for k, v in numbers.items()),
        )

    return report


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Make an empty table; the columns in `right` are aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left")
    return made


def print_table(made: Table) -> None:
    """Write a table to stdout, and an empty line."""
    console = stdout()
    console.print(made)
    console.print()
