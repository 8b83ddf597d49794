"""What the monitor costs a scan, and how late its page is: frames at 20 per second, as ratios within one run.

Step scans of frames that are in files already (`simulated_devices.ready_detector`) are measured without the
monitor and with it, in turn, on one session: `speckle monitor` runs in a process of its own, and a real
Chromium without a window has its page open and follows the newest frame. In the last scan the page is asked
again and again how many frames it has drawn: `lag` is the time by which the page is behind the session's own
count of labels, early in the scan and late. It must not grow.

    python benchmarks/monitor.py [--points 600] [--rounds 2] [--pages 2] [--rate 20]
    python benchmarks/monitor.py --browsers-last
    python benchmarks/monitor.py --busy

The browsers and the scan share the machine here, which they need not do at a beamline. With
`--browsers-last` the browsers have only what the scan leaves of the processors. With `--busy` there is
neither monitor nor browser, but processors that are never idle: so much a scan is slowed by whatever runs
beside it. Run it while the machine is idle.
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
    parser.add_argument(
        "--pages", type=int, default=2, help="browser pages that look at once; 0: nobody looks"
    )
    parser.add_argument("--rate", type=float, default=20.0, help="frames per second")
    parser.add_argument("--browsers-last", action="store_true", help="browsers give way to everything else")
    parser.add_argument(
        "--busy",
        action="store_true",
        help="no monitor: two processes that only count and give way to everything",
    )
    parser.add_argument("--out", type=Path, help="write the numbers into a JSON file")
    parser.add_argument("--look-at", help=argparse.SUPPRESS)  # the process of the browser
    options = parser.parse_args()
    if options.look_at:
        print(json.dumps(look_at(options.look_at, options.pages, options.browsers_last)), flush=True)
        return
    seconds: dict[bool, list[float]] = {False: [], True: []}
    to_label: dict[bool, list[float]] = {False: [], True: []}
    behind: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as closing:
        data = Path(folder) / "data"
        session = closing.enter_context(
            start_session(data, run_engine=RunEngine({}), table=False, profile="")
        )
        path = Path(session.store.frames_directory)
        detector = make_ready_detector(path, "det", exposure_time=1.0 / options.rate)
        scan(session, detector, 5)
        for number in range(2 * options.rounds):
            watched = number % 2 == 1
            with ExitStack() as of_round:
                browser = None
                if watched and options.busy:
                    of_round.enter_context(busy_processors())
                elif watched:
                    url = of_round.enter_context(monitor_of(data))
                    if options.pages:
                        browser = of_round.enter_context(browser_at(url, options))
                    else:
                        time.sleep(SETTLES)
                took, report, labelled = scan(session, detector, options.points, browser)
                seconds[watched].append(took)
                to_label[watched].append(float(np.percentile(report.to_label, 99)))
                if browser is not None:
                    behind = lateness(json.loads(browser.communicate("stop\n")[0]), labelled)
            print(f"{'with' if watched else 'without'} the monitor: {took:.2f} s", file=sys.stderr)
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
    # A session of its own, as a command in another terminal has.
    with subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        try:
            if running.stdout is None:
                raise RuntimeError("the monitor's output is not a pipe")
            yield running.stdout.readline().split()[1]
        finally:
            running.terminate()


@contextmanager
def busy_processors() -> Iterator[None]:
    """Have two processes count, as long as nobody else wants the processors."""
    code = "from speckle_plugin.thread_priority import give_way_as_session as g; g(19)\nwhile True: pass"
    counting = [
        subprocess.Popen(["nice", "-n", "19", sys.executable, "-c", code], start_new_session=True)
        for _ in range(2)
    ]
    try:
        time.sleep(SETTLES)
        yield
    finally:
        for one in counting:
            one.kill()
            one.wait()


@contextmanager
def browser_at(url: str, options: argparse.Namespace) -> Iterator[subprocess.Popen[str]]:
    """Open pages in a process of its own, so that asking them costs the scan's process nothing."""
    command = [sys.executable, __file__, "--look-at", url, "--pages", str(options.pages)]
    if options.browsers_last:
        command.append("--browsers-last")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        try:
            if running.stdout is None or running.stdout.readline().strip() != "ready":
                raise RuntimeError("the browser did not open the page")
            yield running
        finally:
            running.terminate()


GIVING_WAY = """#!/bin/sh
# playwright gives the browser a session of its own, and processors are shared among sessions first
echo 19 > /proc/self/autogroup
exec nice -n 19 {program} "$@"
"""


def look_at(url: str, count: int, last: bool) -> list[tuple[int, float]]:
    """Open pages, follow the run, and tell when the first page had drawn how many frames."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise RuntimeError("there is neither chromium nor google-chrome on the PATH")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        if last:
            path = Path(folder) / "browser"
            path.write_text(GIVING_WAY.format(program=shlex.quote(program)))
            path.chmod(0o755)
            program = str(path)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        pages = [browser.new_page(viewport={"width": 1280, "height": 1000}) for _ in range(count)]
        for page in pages:
            page.goto(url)
            page.wait_for_selector(".tabulator-row", timeout=60_000)
        time.sleep(SETTLES)
        wait_for_run()
        for page in pages:
            page.locator(".tabulator-row").first.click()
        return [(int(pages[0].evaluate(DRAWN)), now) for now in looks()]


def wait_for_run() -> None:
    """Say that all is ready, and wait until a run has begun."""
    print("ready", flush=True)
    sys.stdin.readline()
    time.sleep(SETTLES)


def looks() -> Iterator[float]:
    """Give the time again and again, until there is a word that the scan has ended."""
    ended = threading.Event()
    threading.Thread(target=_end_by_input, args=(ended,), daemon=True).start()
    while not ended.wait(LOOK_INTERVAL):
        yield time.monotonic()


def _end_by_input(ended: threading.Event) -> None:
    sys.stdin.readline()
    ended.set()


def scan(
    session: Session, detector: Any, points: int, browser: subprocess.Popen[str] | None = None
) -> tuple[float, Any, list[float]]:
    """Count frames; give the seconds, the session's report, and when each label was told."""
    labelled: list[float] = []

    def note(name: str, doc: Any) -> None:
        if name == "event" and "disk_number" in doc["data"]:
            labelled.append(time.monotonic())
        elif name == "start" and browser is not None and browser.stdin is not None:
            browser.stdin.write("begun\n")
            browser.stdin.flush()

    token = session.live.subscribe(note)
    began = time.monotonic()
    (uid,) = cast("tuple[str, ...]", session.RE(bp.count([detector], points)))
    took = time.monotonic() - began
    session.live.unsubscribe(token)
    return took, session.live.reports[uid], labelled


def lateness(seen: list[tuple[int, float]], labelled: list[float]) -> list[tuple[float, float]]:
    """Give, for each look at the page, by how much it was behind the labels, s."""
    behind = []
    for drawn, now in seen:
        known = int(np.searchsorted(labelled, now))
        if drawn and known < len(labelled):  # while the scan goes on
            behind.append((now, now - labelled[drawn] if drawn < known else 0.0))
    return behind


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
