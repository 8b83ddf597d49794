"""Pictures of the monitor, for docs/how-to/monitor.md: real scans, a real Chromium at 1280 and 1920 pixels.

Run it with ``python benchmarks/monitor_pictures.py --out docs/how-to``. It takes some minutes. The scans are
the same each time; times and uids are not. ``--only map`` makes one of the pictures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bluesky import RunEngine
from bluesky import plans as bp
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from simulated_devices import DetectorResponse, SampleMap, SpeckleDetector, SpeckleSample
from speckle_plugin.live import SecondOpinion
from speckle_plugin.plans import classify_grid_scan
from speckle_plugin.session import Session, start_session

SEED = 20261128
WIDTHS = {1280: 1000, 1920: 1130}
"""Widths of the browser, and heights."""

COLORS = 128
"""Of a picture, so that it stays small."""


def main() -> None:
    """Measure, open pages, and take pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--only", choices=["map", "line", "time", "large"], help="one picture only")
    parser.add_argument("--points", type=int, default=12, help="positions along each side of the map")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, session_in(Path(folder) / "data") as session:
        with monitor_of(Path(folder) / "data") as url, sync_playwright() as driver:
            path = shutil.which("chromium") or shutil.which("google-chrome")
            browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
            for name, take in PICTURES.items():
                if options.only in (None, name):
                    for width, height in WIDTHS.items():
                        page = browser.new_page(viewport={"width": width, "height": height})
                        page.goto(url)
                        take(session, page, options.points)
                        page.wait_for_timeout(1500)
                        small = options.out / (
                            f"monitor-{name}-{width}.png" if (name, width) != MAIN else "monitor.png"
                        )
                        page.screenshot(path=small)
                        Image.open(small).convert("RGB").quantize(COLORS).save(small, optimize=True)
                        print(small, f"{small.stat().st_size / 1e3:.0f} kB")
                        page.close()
            browser.close()


MAIN = ("map", 1280)


@contextmanager
def session_in(data: Path) -> Iterator[Session]:
    """Open a session with second opinions on the frames of which the network is not sure."""
    opinion = SecondOpinion("unsure", workers=1, wait=30.0, max_confidence=0.97)
    engine = RunEngine({}, context_managers=[])  # scans run beside the main thread, which is the browser's
    with start_session(data, run_engine=engine, second_opinion=opinion, table=False, profile="") as session:
        yield session


@contextmanager
def monitor_of(data: Path) -> Iterator[str]:
    """Run the command, and give the address of its page."""
    command = [
        sys.executable,
        "-c",
        "from speckle_plugin.cli import app; app()",
        "monitor",
        "--data",
        str(data),
    ]
    with subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, text=True, env=os.environ
    ) as running:
        try:
            if running.stdout is None:
                raise RuntimeError("the monitor's output is not a pipe")
            yield running.stdout.readline().split()[1]
        finally:
            running.terminate()


def detector_in(session: Session, photons: float | None = 3e4, **settings: Any) -> Any:
    """Make a detector with photon noise over a sample of patches."""
    sample_map = SampleMap("patches", seed=SEED, parts=12)
    sample = SpeckleSample(name="sample", sample_map=sample_map, family="poly", seed=SEED)
    return SpeckleDetector(
        name="det",
        sample=sample,
        data_directory=session.store.frames_directory,
        exposure_time=0.1,
        response=DetectorResponse(photons=photons),
        seed=SEED,
        **settings,
    )


def on_map(session: Session, page: Page, points: int) -> None:
    """Take a picture of a grid scan that is two thirds through."""
    det = detector_in(session)
    axes = (det.sample.y, -1, 1, points, det.sample.x, -1, 1, points)
    plan = classify_grid_scan([det], *axes, snake_axes=True, md={"sample": "patches of disks", "user": "ada"})
    wanted = points * points * 2 // 3
    measure(session, plan, lambda: page.wait_for_function(TAKEN, arg=wanted, timeout=120_000), page)


def on_line(session: Session, page: Page, points: int) -> None:
    """Take a picture of a scan along x that has ended, with one frame chosen."""
    det = detector_in(session)
    session.RE(bp.scan([det], det.sample.x, -1, 1, 2 * points, md={"sample": "wedge"}))
    page.wait_for_timeout(4000)
    page.locator(".tabulator-row").first.click()
    page.wait_for_timeout(3000)


def in_time(session: Session, page: Page, points: int) -> None:
    """Take a picture of frames without a position, one of them explained."""
    det = detector_in(session)
    session.RE(bp.count([det], points, delay=0.2))
    page.wait_for_timeout(4000)
    page.locator(".tabulator-row").first.click()
    page.wait_for_timeout(2000)
    page.locator("button", has_text="hold").click()
    page.locator("button", has_text="saliency").click()
    page.wait_for_timeout(25_000)


TAKEN = """(wanted) => {
  const figure = Bokeh.documents[0].get_model_by_name("run")
  return figure && figure.renderers[0].data_source.data.x.length >= wanted
}"""


def measure(session: Session, plan: Any, watch: Callable[[], object], page: Page) -> None:
    """Run a plan on a thread, and choose its run on the page."""
    threading.Thread(target=session.RE, args=(plan,), daemon=True).start()
    page.wait_for_selector(".tabulator-row")
    page.wait_for_timeout(4000)
    page.locator(".tabulator-row").first.click()
    watch()


PICTURES: dict[str, Callable[[Session, Page, int], None]] = {"map": on_map, "line": on_line, "time": in_time}

if __name__ == "__main__":
    main()
