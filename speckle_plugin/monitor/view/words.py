"""What the page says in words: the run, what waits and how late it is, the frame; escaped here."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from speckle_plugin.monitor.followed import WAITING, RunState
from speckle_plugin.monitor.shown_frame import ShownFrame
from speckle_plugin.monitor.view.style import FLAGGED
from speckle_plugin.schema import Status

__all__ = ["banner", "frame_line", "run_head", "status_line"]

STANDARD = frozenset(
    "uid time scan_id plan_name plan_type plan_args plan_pattern plan_pattern_module plan_pattern_args "
    "motors detectors hints versions num_points num_intervals extents shape snaking classification "
    "classified_by_session".split()
)
"""Keys of the start document that are not what a user said of the run."""


MOST_SAID = 6
"""Keys of that kind that are shown; Tiled's page has all."""


def banner(problem: str) -> str:
    """Give a warning that cannot be missed."""
    style = f"background:{FLAGGED};color:white;padding:9px 14px;border-radius:6px;font-size:14px"
    return f"<div class='speckle-problem' style='{style}'>{html.escape(problem)}</div>"


def run_head(state: RunState, tiled_page: str) -> str:
    """Give the title of a run, what a user said of it, and the link to Tiled."""
    start = state.start
    begun = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(start.get("time", 0.0))))
    scan = f"Scan {start['scan_id']}" if "scan_id" in start else "Run"
    own = [f"{key} {_short(value)}" for key, value in start.items() if key not in STANDARD]
    said = ", ".join([*own[:MOST_SAID], *(["…"] if len(own) > MOST_SAID else [])])
    link = (
        f"<a href='{html.escape(tiled_page)}' target='_blank' rel='noopener noreferrer' "
        "title='Tiled asks for its key: speckle serve prints an address that has it'>metadata in Tiled ↗</a>"
    )
    parts = [
        f"<b style='font-size: 17px'>{html.escape(str(scan))}</b>",
        html.escape(str(start.get("plan_name", ""))),
        begun,
        f"<code title='{html.escape(state.uid)}'>{html.escape(state.uid[:8])}</code>",
        html.escape(said),
        link,
    ]
    return (
        f"<div style='font-size: 13px; line-height: 1.6'>{' · '.join(part for part in parts if part)}</div>"
    )


def status_line(state: RunState) -> str:
    """Give the counts, the model, what waits and how late the labels are."""
    counts = state.counts
    taken = sum(counts.values())
    ended = "in progress" if state.is_open else f"ended: {(state.stop or {}).get('exit_status', '')}"
    parts = [f"<b>{html.escape(ended)}</b>", f"{taken} frames"]
    parts += [f"{counts[name]} {name}" for name in (Status.CLASSIFIED, Status.DEFERRED) if counts.get(name)]
    if counts.get(Status.FLAGGED):
        parts.append(f"<b style='color:{FLAGGED}'>{counts[Status.FLAGGED]} flagged</b>")
    if state.lowest_confidence is not None:
        parts.append(f"lowest confidence {state.lowest_confidence:.1%}")
    waiting = counts.get(WAITING, 0)
    if state.is_open:
        late = f", {state.behind:.1f} s late" if waiting and state.behind >= 0.1 else ""
        parts.append(f"<b>{waiting} waiting{late}</b>")
        if np.isfinite(state.newest):
            parts.append(f"newest frame {_ago(time.time() - state.newest)}")
    elif waiting:
        parts.append(f"{waiting} without a result: <code>speckle complete</code> labels them")
    if state.latency is not None:
        median, largest = (f"{value * 1e3:.0f}" for value in state.latency)
        parts.append(f"frame to label {median} ms, at most {largest}")
    parts.append(_model(state.model))
    return _line(parts)


def frame_line(state: RunState | None, frame: ShownFrame | None, problem: str = "") -> str:
    """Give what is known of the frame that is shown."""
    if problem or state is None or frame is None:
        return f"<div style='font-size: 13px'>{html.escape(problem)}</div>"
    table = state.table
    found = table[(table["image_key"] == frame.image_key) & (table["frame_index"] == frame.frame_index)]
    parts = [f"<b>{html.escape(frame.image_key)}, frame {frame.frame_index}</b>"]
    if len(found):
        row = found.iloc[-1]
        if row["status"] == Status.CLASSIFIED:
            parts.append(f"<b>{row['disk_number']} disks</b>, confidence {row['confidence']:.1%}")
            if row["possible"]:
                parts.append(f"possible {html.escape(str(row['possible']).replace(',', ', '))}")
        else:
            parts.append(f"no label ({html.escape(str(row['status']))})")
        if row["flags"]:
            flags = str(row["flags"]).replace(",", ", ").replace("_", " ")
            parts.append(f"<span style='color:{FLAGGED}'>{html.escape(flags)}</span>")
        if np.isfinite(row["novelty"]):
            parts.append(f"novelty {row['novelty']:.2f}")
    if frame.opinion:
        parts.append(f"second opinion: {html.escape(frame.opinion)}")
    if frame.mask_note:
        parts.append(html.escape(frame.mask_note))
    return _line(parts)


def _line(parts: list[str]) -> str:
    text = " · ".join(part for part in parts if part)
    return f"<div style='font-size: 13px; line-height: 1.6'>{text}</div>"


def _model(model: Mapping[str, Any]) -> str:
    if not model:
        return "no network has labelled it"
    name = f"{model.get('model', '?')} {model.get('model_version', '')}".strip()
    sha = str(model.get("weights_sha256", ""))
    engine = f" on {model['engine']}" if model.get("engine") else ""
    code = f"<code title='{html.escape(sha)}'>{html.escape(sha[:8])}</code>" if sha else ""
    return f"network <b>{html.escape(name)}</b>{html.escape(engine)} {code}"


def _ago(seconds: float) -> str:
    if seconds < 1:
        return "just now"
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
