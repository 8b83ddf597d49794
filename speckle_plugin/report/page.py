"""The page of a report: what is on it, and how it is written."""

from __future__ import annotations

import base64
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.network import Bundle, find_bundle, shipped_bundles
from speckle_plugin.report.facts import Facts
from speckle_plugin.report.pictures import (
    frame_pictures,
    least_certain,
    run_picture,
    solved_pictures,
)
from speckle_plugin.store import StoredRun

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun

__all__ = ["write_report"]

TEMPLATE = Path(__file__).with_name("page.html.jinja")

SOLVED = 3
"""Solved frames that are drawn."""


def write_report(
    run: BlueskyRun,
    path: Path,
    *,
    frames: int = 6,
    saliency: bool = True,
    settings: FrameSettings | None = None,
    bundle: Bundle | None = None,
) -> None:
    """Write a stored run into one HTML file, with its pictures inside.

    Parameters
    ----------
    run : BlueskyRun
        Classified or not, ended or not.
    path : Path
        A file that is there is replaced.
    frames : int
        Least certain frames that are shown.
    saliency : bool
        Whether they show what the network looks at; that takes some seconds, and TensorFlow.
    settings : FrameSettings, optional
        With the masks that the session had, which the store holds the hash of only.
    bundle : Bundle, optional
        The network that labelled the frames; by default the shipped one of the same weights.

    Raises
    ------
    ValueError
        If `bundle` is another network than the one that labelled the frames.
    """
    import jinja2

    import speckle_plugin

    stored = StoredRun(run)
    facts = Facts(stored)
    settings = settings or stored.settings
    network, why_not = _network(stored, bundle) if saliency else (None, "it was not asked for")
    masked = sorted(text.rsplit(" ", 1)[0] for text in stored.model.get("masks") or ())
    if network is not None and (missing := [key for key in masked if key not in (settings.masks or {})]):
        network, why_not = None, f"the session had a mask for {', '.join(missing)}, which is not given"
    if network is not None and settings.corrections:
        network, why_not = (
            None,
            "frames were corrected by dark frames or flat fields, which is not done here (speckle explain)",
        )
    uncertain, why_not = frame_pictures(
        facts, least_certain(facts.frames, frames), settings, network, why_not
    )
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["embedded"] = _embedded
    text = environment.from_string(TEMPLATE.read_text()).render(
        facts=facts,
        map=run_picture(facts),
        uncertain=uncertain,
        no_saliency=why_not if uncertain else "",
        solved=solved_pictures(facts, settings, SOLVED),
        version=speckle_plugin.__version__,
        today=datetime.now().isoformat(" ", "minutes"),
    )
    path.write_text(text)


def _network(stored: StoredRun, given: Bundle | None) -> tuple[Bundle | None, str]:
    """Give the network that labelled the frames, or why it is not here."""
    if not stored.model:
        return None, "no network labelled a frame of this run"
    weights = str(stored.model.get("weights_sha256", ""))
    name = f"{stored.model.get('model')} {stored.model.get('model_version')} (SHA-256 {weights[:12]})"
    if given is not None:
        if given.sha256 == weights:
            return given, ""
        raise ValueError(
            f"the run {stored.uid} was labelled by {name}, not by {given.name} {given.version} "
            f"({given.sha256[:12]}): give `model` the bundle of that network, or leave it out"
        )
    if weights and stored.model["model"] in shipped_bundles():
        shipped = find_bundle(stored.model["model"])
        if shipped.sha256 == weights:
            return shipped, ""
    return None, f"the network {name} is not among the shipped ones, and its bundle is not given"


def _embedded(image: bytes) -> str:
    """Give a picture as an address that holds it."""
    return f"data:image/webp;base64,{base64.b64encode(image).decode()}"
