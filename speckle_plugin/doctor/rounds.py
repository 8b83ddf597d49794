"""All that is looked at, in the order in which it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from speckle_plugin.doctor.finding import Finding, broken, fine
from speckle_plugin.doctor.installation import examine_installation
from speckle_plugin.doctor.surroundings import examine_surroundings
from speckle_plugin.settings import Settings, SettingsError, read_settings, settings_file

__all__ = ["examine"]


def examine(
    data: Path | None = None, server: str | None = None, file: Path | None = None, dataset: str | None = None
) -> Iterator[Finding]:
    """Look at everything; what is imported lies below, so that a broken package is a finding too.

    Parameters
    ----------
    data, server
        Other than those of the settings.
    file : Path, optional
        A file of frames, looked at as a session would take it.
    dataset : str, optional
        Of that file.
    """
    yield from examine_installation()
    yield from examine_surroundings()
    try:
        path = settings_file()
        settings = read_settings(data=data, server=server)
        settings.frames()
    except SettingsError as error:
        yield broken("settings", str(error), "correct it there: docs/how-to/settings.md")
        return
    stated = settings.model_dump(exclude_defaults=True)
    text = ", ".join(f"{name} = {value}" for name, value in stated.items()) or "all defaults"
    yield fine("settings", f"{path or 'no file'}: {text}")
    yield from _deeper(settings, file, dataset)


def _deeper(settings: Settings, file: Path | None, dataset: str | None) -> Iterator[Finding]:
    try:
        from speckle_plugin.doctor.frame import examine_frame
        from speckle_plugin.doctor.network import examine_network
        from speckle_plugin.doctor.storage import examine_storage
    except ImportError as error:
        yield broken("installation", f"can't be imported: {error}", "install the package again")
        return
    classifier = yield from examine_network(settings)
    yield from examine_storage(settings)
    if file is not None:
        yield from examine_frame(file, settings, classifier, dataset)
