"""`speckle models` and `speckle models NAME`: which networks there are, and how far to trust each."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speckle_plugin.cli.console import print_table, remark, stdout, table
from speckle_plugin.cli.errors import clear_errors

if TYPE_CHECKING:
    from speckle_plugin.network import Bundle
    from speckle_plugin.network.imported import GraphForm

__all__ = ["models"]


@clear_errors
def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|PATH]", help="Show this one in detail.", show_default=False),
    ] = None,
) -> None:
    """List the networks that come with the package, or show one of them, or one from a file.

    A result stores the name, version and SHA-256 of the network that gave it.

    **Example**

        speckle models
        speckle models quadrant
        speckle models my-network/quadrant.bundle
    """
    from speckle_plugin.network import find_bundle, shipped_bundles

    if name is not None:
        _show(find_bundle(name))
        return
    names = shipped_bundles()
    if not names:
        remark("No network comes with this version; train one: speckle train quadrant --out my-network")
        return
    listed = table(
        "name", "version", "sha256", "disk numbers", "preprocessing", "test accuracy", "test frames"
    )
    for shipped in names:
        bundle = find_bundle(shipped)
        test = bundle.metrics.get("test", {})
        accuracy = f"{test['accuracy']:.2%}" if "accuracy" in test else "not tested"
        frames = f"{test.get('frames', '?')} of {', '.join(test.get('families', ()))}" if test else ""
        listed.add_row(
            bundle.name,
            bundle.version,
            bundle.sha256[:12],
            _classes(bundle),
            _settings(bundle),
            accuracy,
            frames,
        )
    print_table(listed)


def _show(bundle: Bundle) -> None:
    shown = table("", "")
    shown.show_header = False
    rows: dict[str, Any] = {
        "name": bundle.name,
        "version": bundle.version,
        "sha256": bundle.sha256,
        "parent": bundle.parent or "none",
        "architecture": bundle.architecture,
        "licence": bundle.training.get("licence", "that of this package"),
        "source": bundle.training.get("source", "trained by this package; see the recipe in its manifest"),
        **(
            {"parameters": f"{sum(value.size for value in bundle.weights.values()):,}"}
            if bundle.form is None
            else {"input": _input(bundle.form)}
        ),
        ("classes" if bundle.class_names else "disk numbers"): _classes(bundle),
        "pitch": "unknown" if bundle.pitch is None else f"{bundle.pitch:.6g} per pixel",
        "temperature": f"{bundle.temperature:.4g}",
        "preprocessing": _settings(bundle),
    }
    for purpose, metrics in bundle.metrics.items():
        rows |= {f"{purpose}: {key}": value for key, value in metrics.items() if _is_short(value)}
    for key, value in bundle.training.items():
        if key == "versions":
            rows["made with"] = ", ".join(f"{k} {v}" for k, v in value.items())
        elif _is_short(value) and key not in rows:
            rows[f"training: {key}"] = value
    for key, value in rows.items():
        shown.add_row(key, f"{value:.4f}" if isinstance(value, float) else str(value))
    print_table(shown)
    test = bundle.metrics.get("test", {})
    if "per_class" in test:
        classes = table(
            "disk number", "precision", "recall", "f1", right=("disk number", "precision", "recall", "f1")
        )
        per_class = test["per_class"]
        for row in zip(*(per_class[k] for k in ("disk_number", "precision", "recall", "f1")), strict=True):
            classes.add_row(str(row[0]), *(f"{value:.3f}" for value in row[1:]))
        print_table(classes)
    curves = bundle.training.get("curves")
    if curves:
        last = ", ".join(f"{k} {v:.4g}" for k, v in curves[-1].items())
        stdout().print(f"last of {len(curves)} epochs: {last}", soft_wrap=True)


def _is_short(value: Any) -> bool:
    return isinstance(value, int | float | str) or (
        isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
    )


def _input(form: GraphForm) -> str:
    size = f"{form.rows or 'any'} x {form.columns or 'any'} pixels"
    return f"{size}, {form.channels} channel{'s' if form.channels > 1 else ''}, {form.layout}; {form.gives}"


def _settings(bundle: Bundle) -> str:
    from speckle_plugin.preprocessing import RawCrop

    if isinstance(settings := bundle.preprocessing, RawCrop):
        size = f"{settings.rows} x {settings.columns} pixels" if settings.rows else "the whole frame"
        return f"raw crop of {size}, scaling {settings.scaling}"
    return ", ".join(f"{key} {value}" for key, value in asdict(bundle.preprocessing).items())


def _classes(bundle: Bundle) -> str:
    return ", ".join(bundle.class_names) or _ranges(bundle.classes)


def _ranges(numbers: tuple[int, ...]) -> str:
    """Write 2, 3, ... 20 as 2-20."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))
