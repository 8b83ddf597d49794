"""What the monitor costs a scan, and how late its page is: frames at 20 per second, as ratios within one run.

Step scans of frames that are in files already (`simulated_devices.ready_detector`) are measured without the
monitor and with it, in turn, on one session: `speckle monitor` runs in a process of its own, and a real
Chromium without a window has its page open and follows the newest frame. In the last scan the page is asked
again and again how many frames it has drawn: `lag` is the time by which the page is behind the session's own
count of labels, early in the scan and late. It must not grow.

    python benchmarks/monitor.py [--points 600] [--rounds 2] [--pages 2] [--rate 20] [--browsers-last]

The browsers and the scan share the machine here, which they need not do at a beamline: with
`--browsers-last` the browsers have only what the scan leaves of the processors, so that what is left of the
difference is mostly the monitor's. Run it while the machine is idle.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from bluesky import RunEngine
from bluesky import plans as bp
from playwright.sync_api import Page, sync_playwright

from simulated_devices.ready_detector import make_ready_detector
from speckle_plugin.session import Session, start_session

DRAWN = """() => {
  const figure = Bokeh.documents[0].get_model_by_name("run")
  return figure ? figure.renderers[0].data_source.data.x.length : 0
}"""

LOOK_INTERVAL = 0.1
"""Seconds between asking the page."""

SETTLES = 4.0
"""Seconds for a page to show the runs."""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=600, help="frames of each scan")
    parser.add_argument("--rounds", type=int, default=2, help="scans with the monitor, and as many without")
    parser.add_argument("--pages", type=int, default=2, help="browsers that look at once")
    parser.add_argument("--rate", type=float, default=20.0, help="frames per second")
    parser.add_argument("--browsers-last", action="store_true", help="browsers give way to everything else")
    parser.add_argument("--out", type=Path, help="write the numbers into a JSON file")
    options = parser.parse_args()
    seconds: dict[bool, list[float]] = {False: [], True: []}
    to_label: dict[bool, list[float]] = {False: [], True: []}
    behind: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as closing:
        data = Path(folder) / "data"
        engine = RunEngine(
            {}, context_managers=[]
        )  # scans run beside the main thread, which is the browser's
        session = closing.enter_context(start_session(data, run_engine=engine, table=False, profile=""))
        path = Path(session.store.frames_directory)
        detector = make_ready_detector(path, "det", exposure_time=1.0 / options.rate)
        scan(session, detector, 5)
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if options.browsers_last:
            program = str(giving_way(program, Path(folder)))
        browser = closing.enter_context(sync_playwright()).chromium.launch(
            executable_path=program, args=["--no-sandbox"]
        )
        for number in range(2 * options.rounds):
            watched = number % 2 == 1
            with ExitStack() as of_round:
                pages = [] if not watched else open_pages(of_round, browser, data, options.pages)
                behind = [] if watched else behind
                took, report = scan(session, detector, options.points, pages, behind)
                seconds[watched].append(took)
                to_label[watched].append(float(np.percentile(report.to_label, 99)))
            print(f"{'with' if watched else 'without'} the monitor: {took:.2f} s", file=sys.stderr)
        browser.close()
    numbers = {
        "frames": options.points,
        "pages": options.pages,
        "frames_per_s": options.points / min(seconds[True]),
        "scan_seconds_over_without": min(seconds[True]) / min(seconds[False]),
        "label_p99_over_without": statistics.median(to_label[True]) / statistics.median(to_label[False]),
        **lags(behind),
    }
    print("| | |\n|---|---|")
    for name, value in numbers.items():
        print(f"| {name} | {value:.4g} |")
    if options.out is not None:
        options.out.write_text(json.dumps(numbers, indent=1) + "\n")


def giving_way(program: str | None, folder: Path) -> Path:
    """Give a command that runs a program where others leave the processor free."""
    if program is None:
        raise RuntimeError("there is neither chromium nor google-chrome on the PATH")
    path = folder / "browser"
    path.write_text(f'#!/bin/sh\nexec nice -n 19 {shlex.quote(program)} "$@"\n')
    path.chmod(0o755)
    return path


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
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as running:
        try:
            if running.stdout is None:
                raise RuntimeError("the monitor's output is not a pipe")
            yield running.stdout.readline().split()[1]
        finally:
            running.terminate()


def open_pages(of_round: ExitStack, browser: Any, data: Path, count: int) -> list[Page]:
    """Open pages of a monitor that is started now."""
    url = of_round.enter_context(monitor_of(data))
    pages = []
    for _ in range(count):
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        of_round.callback(page.close)
        page.goto(url)
        page.wait_for_selector(".tabulator-row", timeout=60_000)
        pages.append(page)
    time.sleep(SETTLES)
    return pages


def scan(
    session: Session,
    detector: Any,
    points: int,
    pages: list[Page] | None = None,
    behind: list[tuple[float, float]] | None = None,
) -> tuple[float, Any]:
    """Count frames; give the seconds and the session's report. Meanwhile note how late the first page is."""
    labelled: list[float] = []

    def note(name: str, doc: Any) -> None:
        if name == "event" and "disk_number" in doc["data"]:
            labelled.append(time.monotonic())

    token = session.live.subscribe(note)
    took: dict[str, float] = {}

    def run() -> None:
        began = time.monotonic()
        (uid,) = cast("tuple[str, ...]", session.RE(bp.count([detector], points)))
        took[uid] = time.monotonic() - began

    thread = threading.Thread(target=run)
    thread.start()
    for page in pages or []:
        page.wait_for_timeout(SETTLES * 1000)
        page.locator(".tabulator-row").first.click()
    while thread.is_alive():
        if pages and behind is not None:
            drawn, now = int(pages[0].evaluate(DRAWN)), time.monotonic()
            known = len(labelled)
            if 0 < drawn < known:
                behind.append((now, now - labelled[drawn]))
            elif drawn == known and drawn:
                behind.append((now, 0.0))
        time.sleep(LOOK_INTERVAL)
    thread.join()
    session.live.unsubscribe(token)
    ((uid, seconds),) = took.items()
    return seconds, session.live.reports[uid]


def lags(behind: list[tuple[float, float]]) -> dict[str, float]:
    """Give how late the page was in the first and in the last third of a scan, and by how much that grows."""
    if len(behind) < 6:
        return {}
    times, late = np.array(behind).T
    third = len(late) // 3
    slope = float(np.polyfit(times - times[0], late, 1)[0])
    return {
        "lag_s_first_third": float(np.median(late[:third])),
        "lag_s_last_third": float(np.median(late[-third:])),
        "lag_s_largest": float(late.max()),
        "lag_growth_s_per_s": slope,
    }


if __name__ == "__main__":
    main()
