"""The live figure in a notebook: a real kernel, one image below each cell that scans."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

nbformat = pytest.importorskip("nbformat", reason="the extra `notebook` is not installed")
nbclient = pytest.importorskip("nbclient", reason="the extra `notebook` is not installed")

SET_UP = """
import bluesky.plans as bp
from bluesky import RunEngine
from simulated_devices import SpeckleDetector, SpeckleSample, quadrant
from speckle_plugin.display import LiveFigure, choose_place
from speckle_plugin.display.notebook import NotebookImage
from speckle_plugin.live import LiveClassifier
from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import Preprocessing
from tests.testing.engine import CLASSES, FakeEngine

live = LiveClassifier(Classifier(Bundle("fake", "0", CLASSES, Preprocessing(crop=33), {}), FakeEngine()))
class Counted(NotebookImage):
    shown = 0
    def show(self, png):
        super().show(png)
        self.shown += 1
images = Counted()
figure = LiveFigure(choose_place("auto"), live.backlog, images=images)
live.subscribe(figure)
live.watch(figure.see)
RE = RunEngine({})
RE.subscribe(live)
sample = SpeckleSample(name="sample", seed=1)
det = SpeckleDetector(name="det", sample=sample, grid=quadrant(65), data_directory="frames", seed=1)
figure.place
"""
SCANS = """
import time
for _ in range(3):
    RE(bp.scan([det], sample.x, -1, 1, 4))
    seen, deadline = images.shown, time.monotonic() + 60
    while images.shown == seen and time.monotonic() < deadline:
        time.sleep(0.1)
print("SHOWN", images.shown)
"""


@pytest.mark.slow
def test_scans_of_a_cell_share_an_image(tmp_path: Path) -> None:
    cells = [SET_UP, SCANS, SCANS, "figure.close(); live.close()"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    outputs = [cell.outputs for cell in notebook.cells]
    assert outputs[0][-1]["data"]["text/plain"] == "'inline'"
    for scanned in outputs[1:3]:
        images = [output for output in scanned if "image/png" in output.get("data", {})]
        assert len(images) == 1, f"one image for all scans of the cell, not {scanned}"
        drawn = np.asarray(imread(io.BytesIO(base64.b64decode(images[0]["data"]["image/png"]))))
        assert drawn.shape[:2] == (576, 1080)
