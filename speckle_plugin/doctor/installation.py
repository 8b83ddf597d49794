"""The installation: Python, the packages that this one needs, and the versions that its tests ran with."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import speckle_plugin
from speckle_plugin.doctor.finding import Finding, broken, fine, note
from speckle_plugin.extras import EXTRA_OF
from speckle_plugin.shell import command

__all__ = ["examine_installation", "known_versions"]

NAME = "speckle-plugin"


def examine_installation() -> Iterator[Finding]:
    """Look at the interpreter and the packages."""
    about = metadata.metadata(NAME)
    running = platform.python_version()
    if running in SpecifierSet(about["Requires-Python"], prereleases=True):
        where = Path(speckle_plugin.__file__).parent
        text = f"Python {running}, speckle-plugin {about['Version']} in {where} ({sys.prefix})"
        yield fine("installation", text)
    else:
        yield broken(
            "installation",
            f"Python {running}",
            f"use Python {about['Requires-Python']}: the versions before lack what is used",
        )
    yield from _packages()
    missing = {
        extra: [name for name in EXTRA_OF if EXTRA_OF[name] == extra and find_spec(name) is None]
        for extra in sorted(set(EXTRA_OF.values()))
    }
    for extra, names in missing.items():
        if names:
            yield note(
                f"extra {extra}",
                f"not installed: {', '.join(names)}",
                f"if wanted: {command('pip', 'install', f'{NAME}[{extra}]')}",
            )


def _packages() -> Iterator[Finding]:
    known = known_versions()
    others: list[str] = []
    unfit = 0
    about = metadata.metadata(NAME)
    extras = about.get_all("Provides-Extra") or []
    needed = [Requirement(text) for text in metadata.requires(NAME) or ()]
    # An editable installation says what it needed when it was installed.
    for requirement in needed:
        extra = _extra_of(requirement, extras)
        if extra is None or requirement.name == NAME:
            continue
        wanted = command("pip", "install", f"{requirement.name}{requirement.specifier}")
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            if not extra:  # what an extra lacks is told below
                unfit += 1
                yield broken("packages", f"{requirement.name} is not installed", wanted)
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            unfit += 1
            unlike = f"{requirement.name} {found}, not {requirement.specifier}"
            if extra:
                yield note("packages", f"{unlike}, as the extra {extra} wants it", wanted)
            else:
                yield broken("packages", unlike, wanted)
        tested = known.get(canonicalize_name(requirement.name))
        if tested is not None and tested != found:
            others.append(f"{requirement.name} {found} ({tested})")
    if others:
        yield note(
            "packages",
            "other versions than those in brackets, which the tests ran with: " + ", ".join(others),
            "if something fails: pip install -c constraints.txt, with the file of the source code",
        )
    elif not unfit:
        yield fine("packages", "all those that are needed, in the versions that the tests ran with")


def _extra_of(requirement: Requirement, extras: Sequence[str]) -> str | None:
    """Give the extra that a requirement is of, "" for all; None where it is not for this machine."""
    if requirement.marker is None:
        return ""
    return next((extra for extra in ("", *extras) if requirement.marker.evaluate({"extra": extra})), None)


def known_versions() -> dict[str, str]:
    """Give the versions that the tests ran with, by package; empty where the list was not installed."""
    listed = [Path(speckle_plugin.__file__).parents[1] / "constraints.txt"]
    listed += [
        Path(str(file.locate())) for file in metadata.files(NAME) or () if file.name == "constraints.txt"
    ]
    for path in listed:
        if path.is_file():
            pairs = (
                line.split("==") for line in path.read_text(encoding="utf-8").splitlines() if "==" in line
            )
            return {canonicalize_name(name): version.strip() for name, version in pairs}
    return {}
