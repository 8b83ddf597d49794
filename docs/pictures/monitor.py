"""Pictures of the monitor, for docs/how-to/monitor.md: real scans, a real Chromium at 1280 and 1920 pixels.

Run it with ``python docs/pictures/monitor.py --out docs/how-to``. It takes some minutes. The scans are
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
import time
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
HEIGHTS = {1280: 1000, 1920: 1130}
"""Of the browser, by its width."""

LARGEST, COLORS = 290_000, 256
"""Bytes of a picture; one that is larger gets so many colours only."""


def main() -> None:
    """Measure, open pages, and take pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--only", choices=["map", "line", "time"], help="one picture only")
    parser.add_argument("--points", type=int, default=12, help="positions along each side of the map")
    parser.add_argument("--exposure", type=float, default=0.1, help="seconds; more where the network is slow")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, session_in(Path(folder) / "data") as session:
        with monitor_of(Path(folder) / "data") as url, sync_playwright() as driver:
            path = shutil.which("chromium") or shutil.which("google-chrome")
            browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
            for name in PICTURES if options.only is None else [options.only]:
                pages = {width: open_page(browser, url, width) for width in HEIGHTS}
                running = PICTURES[name](session, list(pages.values()), options.points, options.exposure)
                for width, page in pages.items():
                    save(
                        page,
                        options.out
                        / ("monitor.png" if (name, width) == MAIN else f"monitor-{name}-{width}.png"),
                    )
                    page.close()
                running.join()
            browser.close()


MAIN = ("map", 1920)


@contextmanager
def session_in(data: Path) -> Iterator[Session]:
    """Open a session with second opinions on the frames of which the network is not sure."""
    opinion = SecondOpinion("unsure", workers=1, wait=2.0, max_confidence=0.97)
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


def detector_in(session: Session, exposure: float) -> Any:
    """Make a detector with photon noise over a sample of patches."""
    sample_map = SampleMap("patches", seed=SEED, parts=12)
    sample = SpeckleSample(name="sample", sample_map=sample_map, family="poly", seed=SEED)
    return SpeckleDetector(
        name="det",
        sample=sample,
        data_directory=session.store.frames_directory,
        exposure_time=exposure,
        response=DetectorResponse(photons=1e6),
        seed=SEED,
    )


def on_map(session: Session, pages: list[Page], points: int, exposure: float) -> threading.Thread:
    """Have the pages show a grid scan that is two thirds through."""
    det = detector_in(session, exposure)
    axes = (det.sample.y, -1, 1, points, det.sample.x, -1, 1, points)
    plan = classify_grid_scan([det], *axes, snake_axes=True, md={"sample": "patches of disks", "user": "ada"})
    return measure(session, plan, pages, points * points * 2 // 3)


def on_line(session: Session, pages: list[Page], points: int, exposure: float) -> threading.Thread:
    """Have the pages show a scan along x that has ended."""
    det = detector_in(session, exposure)
    plan = bp.scan([det], det.sample.x, -1, 1, 2 * points, md={"sample": "wedge"})
    running = measure(session, plan, pages, 2 * points)
    running.join()
    for page in pages:
        page.wait_for_timeout(3000)
    return running


def in_time(session: Session, pages: list[Page], points: int, exposure: float) -> threading.Thread:
    """Have the pages show frames without a position, the last of them explained."""
    det = detector_in(session, exposure)
    running = measure(session, bp.count([det], points, delay=0.2), pages, points)
    running.join()
    for page in pages:
        page.wait_for_timeout(3000)
        page.locator("button", has_text="hold").click()
        page.locator("button", has_text="saliency").click()
    for page in pages:
        page.wait_for_function(EXPLAINED, timeout=120_000)
    return running


def measure(session: Session, plan: Any, pages: list[Page], wanted: int) -> threading.Thread:
    """Run a plan on a thread, choose its run on the pages, and wait until they show so many frames."""
    running = threading.Thread(target=session.RE, args=(plan,), daemon=True)
    before = len(session.catalog)
    running.start()
    while len(session.catalog) == before:
        time.sleep(0.1)
    newest = str(session.catalog.values().last().start["scan_id"])
    for page in pages:
        page.locator(".tabulator-row", has_text=newest).first.click(timeout=60_000)
    for page in pages:
        page.wait_for_function(TAKEN, arg=wanted, timeout=120_000)
    return running


def open_page(browser: Any, url: str, width: int) -> Page:
    """Open the page in a window of some width."""
    page: Page = browser.new_page(viewport={"width": width, "height": HEIGHTS[width]})
    page.goto(url)
    return page


def save(page: Page, path: Path) -> None:
    """Take a picture."""
    page.wait_for_function(SHOWN, timeout=60_000)
    page.wait_for_timeout(1500)
    page.screenshot(path=path)
    if path.stat().st_size > LARGEST:
        Image.open(path).convert("RGB").quantize(COLORS).save(path, optimize=True)
    print(path, f"{path.stat().st_size / 1e3:.0f} kB")


TAKEN = """(wanted) => {
  const figure = Bokeh.documents[0].get_model_by_name("run")
  return figure && figure.renderers[0].data_source.data.x.length >= wanted
}"""

SHOWN = """() => {
  const figure = Bokeh.documents[0].get_model_by_name("frame")
  return figure && figure.renderers[0].data_source.data.image.length > 0
}"""

EXPLAINED = """() => {
  const figure = Bokeh.documents[0].get_model_by_name("frame")
  const overlays = figure ? figure.renderers.filter((one) => one.glyph.type === "ImageRGBA") : []
  return overlays.some((one) => one.data_source.data.image.length)
}"""


PICTURES: dict[str, Callable[[Session, list[Page], int, float], threading.Thread]] = {
    "map": on_map,
    "line": on_line,
    "time": in_time,
}

if __name__ == "__main__":
    main()
