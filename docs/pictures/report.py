"""The picture of a report, for docs/how-to/report.md.

Run it with ``python docs/pictures/report.py``: it scans a simulated sample, writes the report, opens it in
Chromium, and takes a picture of its upper part.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from simulated_devices import DetectorResponse, SampleMap, SpeckleDetector, SpeckleSample
from speckle_plugin import start_session
from speckle_plugin.plans import classify_grid_scan
from speckle_plugin.report import write_report

SEED = 3
WIDTH, HEIGHT = 1180, 1560


def main() -> None:
    """Scan, report, and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "how-to" / "report.png")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        with start_session(Path(folder) / "data", profile="", table=False) as session:
            sample_map = SampleMap("patches", seed=SEED, parts=24)
            sample = SpeckleSample(name="sample", sample_map=sample_map, family="poly", seed=SEED)
            det = SpeckleDetector(
                name="det",
                sample=sample,
                data_directory=session.store.frames_directory,
                response=DetectorResponse(photons=1e6, dtype="uint16"),
                seed=SEED,
            )
            axes = (sample.y, -1, 1, 6, sample.x, -1, 1, 6)
            session.RE(classify_grid_scan([det], *axes, md={"sample": "A7", "proposal": "2026-17"}))
            write_report(session.catalog[-1], page)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
            opened = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            opened.goto(page.as_uri())
            opened.wait_for_timeout(500)
            taken = opened.screenshot()
            browser.close()
    picture = Image.open(io.BytesIO(taken)).convert("RGB").quantize(128, kmeans=1, dither=Image.Dither.NONE)
    picture.save(options.out, optimize=True)
    print(f"{options.out}: {options.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
