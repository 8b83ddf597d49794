"""Options that choose stored runs, alike in every command that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns

__all__ = [
    "CertificateOption",
    "DisagreesOption",
    "ConfidenceOption",
    "FlagOption",
    "LabelOption",
    "ModelOption",
    "PlanOption",
    "PossibleOption",
    "RunSelection",
    "SinceOption",
    "UntilOption",
    "WhereOption",
    "label_of",
    "run_selection",
]

LabelOption = Annotated[
    str | None,
    typer.Option(
        help="Runs with a frame that got this disk number, or the class of an imported network of this name.",
        show_default=False,
    ),
]
ConfidenceOption = Annotated[
    float | None,
    typer.Option(help="Runs with a frame of less confidence than this, 0 to 1.", show_default=False),
]
FlagOption = Annotated[
    str | None, typer.Option(help="Runs with a frame of this flag, such as saturated.", show_default=False)
]
ModelOption = Annotated[str | None, typer.Option(help="Runs that this model classified.", show_default=False)]
SinceOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help='Runs since then, such as "2026-11-22 14:30".', show_default=False),
]
UntilOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Runs that began before it.", show_default=False)
]
CertificateOption = Annotated[
    str | None,
    typer.Option(
        help="Runs with a frame of this second opinion: solved, not_explained, undecided or left.",
        show_default=False,
    ),
]
DisagreesOption = Annotated[
    bool | None,
    typer.Option(
        "--disagrees/--agrees",
        help="Runs with a certified frame that the network labels otherwise, or with none.",
        show_default=False,
    ),
]
PossibleOption = Annotated[
    int | None,
    typer.Option(
        help="Runs with a frame for which this disk number is possible, whatever its label.",
        show_default=False,
    ),
]
PlanOption = Annotated[
    str | None, typer.Option(help="Runs of the plan of this name, such as count.", show_default=False)
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="What the runs' metadata say; may be repeated. A number is one unless quoted: 'sample=\"3\"'.",
        show_default=False,
    ),
]


class RunSelection(NamedTuple):
    """What runs must have, as given; both go into a child's provenance."""

    query: dict[str, Any]
    metadata: dict[str, Any]

    def find(self, runs: CatalogOfBlueskyRuns) -> CatalogOfBlueskyRuns:
        """Find the runs for which all of it holds."""
        from speckle_plugin.store import find_runs

        return find_runs(runs, **self.query, metadata=self.metadata)


def run_selection(where: list[str] | None, **query: Any) -> RunSelection:
    """Read the options; those of `find_runs` that are None were not given.

    Raises
    ------
    ValueError
        If one of `where` is not KEY=VALUE.
    """
    query["label"] = label_of(query.get("label"))
    given = {key: value for key, value in query.items() if value is not None}
    return RunSelection(given, dict(_key_value(text) for text in where or ()))


def label_of(text: str | int | None) -> str | int | None:
    """Read a label: a disk number, or the name of a class."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return text


def _key_value(text: str) -> tuple[str, Any]:
    """Read `family=poly` or `scan_id=3`."""
    import json

    key, equals, value = text.partition("=")
    if not (key.strip() and equals and value.strip()):
        raise ValueError(f"--where {text!r} can't be read: give KEY=VALUE, such as family=poly")
    try:
        return key.strip(), json.loads(value, parse_constant=_no_number, parse_float=_finite)
    except ValueError:
        return key.strip(), value.strip()


def _finite(text: str) -> float:
    """Read a number; a hash such as 12e4567 looks like one, but is too large to be stored as such."""
    import math

    return number if math.isfinite(number := float(text)) else _no_number(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is a text, since JSON has no such number")
