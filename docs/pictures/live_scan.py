"""The moving picture of README and site: a scan of a simulated sample, as it was classified.

Run it with ``python docs/pictures/live_scan.py``: it scans a sample, reads frames and results back from the
store, and draws them in the order in which they came, into ``docs/pictures/live_scan.webp``.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from simulated_devices import DetectorResponse, SampleMap, SpeckleDetector, SpeckleSample
from speckle_plugin import find_frames, start_session
from speckle_plugin.explain.style import (
    BLUE,
    DISK_COLORS,
    FRAME_COLORS,
    NO_VALUE,
    ORANGE,
    k_scale_bar,
    log_norm,
)
from speckle_plugin.plans import classify_grid_scan
from speckle_plugin.store import StoredRun

POINTS, SEED = 6, 8
SHOWN_PIXELS = 129
"""Rows and columns of a frame that are drawn, from the beam on: what the network sees of it."""

MILLISECONDS, LAST_MILLISECONDS = 180, 4000
"""How long each picture stands, and the last one."""


def main() -> None:
    """Scan, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("live_scan.webp"))
    out: Path = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder, start_session(folder, profile="", table=False) as session:
        sample_map = SampleMap("patches", seed=SEED, parts=14)
        sample = SpeckleSample(name="sample", sample_map=sample_map, family="poly", seed=SEED)
        det = SpeckleDetector(
            name="det",
            sample=sample,
            data_directory=session.store.frames_directory,
            response=DetectorResponse(photons=1e6),
            seed=SEED,
        )
        axes = (sample.y, -1, 1, POINTS, sample.x, -1, 1, POINTS)
        session.RE(classify_grid_scan([det], *axes, snake_axes=True))
        run = StoredRun(session.catalog[-1])
        table = find_frames(run.run, with_frames=True)
        rows = [run.results.rows["det_image", i] for i in table["frame_index"]]
        probabilities = np.array([row.data["probabilities"] for row in rows])
        classes = [int(n) for n in run.model["classes"]]
        pictures = [_draw(table, probabilities, classes, i, det.grid.pitch) for i in range(len(table))]
    durations = [MILLISECONDS] * (len(pictures) - 1) + [LAST_MILLISECONDS]
    pictures[0].save(
        out,
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        quality=40,
        method=6,
        minimize_size=True,
    )
    right = (table["disk_number"] == table["truth_disk_number"]).sum()
    print(f"{out}: {len(pictures)} frames, {right} right, {out.stat().st_size / 1e3:.0f} kB")


def _draw(
    table: object, probabilities: NDArray[np.float64], classes: list[int], last: int, pitch: float
) -> Image.Image:
    """Draw the scan as it was when the frame `last` had its label."""
    import pandas as pd

    assert isinstance(table, pd.DataFrame)  # noqa: S101  for the type checker
    row = table.iloc[last]
    figure = Figure(figsize=(10.4, 3.5), layout="constrained")
    figure.suptitle(
        f"frame {last + 1} of {len(table)}: {row['disk_number']} disks, {row['confidence']:.0%} sure",
        fontsize=13,
        x=0.02,
        ha="left",
    )
    frame_axes, bar_axes, map_axes = figure.subplots(1, 3, width_ratios=[1, 1.25, 1.12])
    frame = np.asarray(row["frame"])[:SHOWN_PIXELS, :SHOWN_PIXELS]
    norm = log_norm(frame)
    frame_axes.imshow(np.maximum(frame, norm.vmin or 0.1), norm=norm, cmap=FRAME_COLORS)
    frame_axes.set(title="the newest frame", xticks=[], yticks=[])
    k_scale_bar(frame_axes, pitch)
    colors = [BLUE if n == row["disk_number"] else NO_VALUE for n in classes]
    bar_axes.bar(classes, probabilities[last], color=colors)
    bar_axes.set(title="what the network says", xlabel="disk number", ylabel="probability", ylim=(0, 1))
    bar_axes.set_xticks(range(2, 21, 3))
    tiles = np.full((POINTS, POINTS), np.nan)
    columns = (np.round((table["sample_x"] + 1) / 2 * (POINTS - 1))).astype(int)
    lines = (np.round((table["sample_y"] + 1) / 2 * (POINTS - 1))).astype(int)
    for i in range(last + 1):
        tiles[lines.iloc[i], columns.iloc[i]] = table["disk_number"].iloc[i]
    edges = (-1 - 1 / (POINTS - 1), 1 + 1 / (POINTS - 1))
    shown = map_axes.imshow(tiles, cmap=DISK_COLORS, vmin=2, vmax=20, origin="lower", extent=(*edges, *edges))
    map_axes.set_facecolor(NO_VALUE)
    map_axes.plot(row["sample_x"], row["sample_y"], "s", markersize=22, fillstyle="none", color=ORANGE, mew=2)
    map_axes.set(
        title="the sample so far", xlabel="x (mm)", ylabel="y (mm)", xticks=(-1, 0, 1), yticks=(-1, 0, 1)
    )
    figure.colorbar(shown, ax=map_axes, label="disk number", ticks=range(2, 21, 6))
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    return Image.open(drawn).convert("RGB")


if __name__ == "__main__":
    main()
