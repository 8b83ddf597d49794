"""How long a new user takes to a classified scan in the browser, by the README alone: each step in seconds.

A fresh clone gets a fresh environment by the README's commands, without pip's cache. The demo's scan and one
that is typed into the IPython profile are then looked for on the page of the monitor, in a real Chromium
without a window. A command that the README does not have is an error here.

    python benchmarks/newcomer.py [--folder /tmp/newcomer] [--source .] [--cache] [--out newcomer.json]

It needs git, make, Python 3.11 or newer, Chromium and the network, and no Python package. What pip downloads
takes as long as the network takes; the rest is to be measured while the machine is idle.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]

SCAN = "RE(classify_grid_scan([det], sample.y, -1, 1, 8, sample.x, -1, 1, 8))"

COMMANDS = {
    "demo": "make demo",
    "activate": "source .venv/bin/activate",
    "monitor": "speckle monitor --data demo-output",
    "session": "ipython --profile-dir=profile_collection",
    "scan": SCAN,
}
"""What is typed, each as it stands in the README."""

FRAMES = 64
"""Of the demo's scan, and of the one that is typed."""

READY = "Ready:"
"""What `make` prints when the environment is installed."""

PAGE_TIMEOUT = 300.0


def main() -> None:
    """Do the steps, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where to; it must not exist (a temporary one)")
    parser.add_argument("--source", default=str(ROOT), help="what is cloned: an address or a folder")
    parser.add_argument("--cache", action="store_true", help="let pip take what it has downloaded before")
    parser.add_argument("--out", type=Path, help="write the seconds into a JSON file")
    parser.add_argument("--look", help=argparse.SUPPRESS)  # what the steps run in the new environment
    options = parser.parse_args()
    if options.look:
        look(options.look)
        return
    if options.folder is not None and options.folder.exists():
        parser.error(f"{options.folder} is there: give a folder that is not, so that nothing in it helps")
    with tempfile.TemporaryDirectory() as temporary:
        seconds = steps(options.folder or Path(temporary) / "clone", options.source, options.cache)
    total = 0.0
    print("\n| step | seconds | in all |\n|---|---|---|")
    for step, took in seconds.items():
        total += took
        print(f"| {step} | {took:.0f} | {total:.0f} |")
    print(f"\n{total / 60:.1f} minutes; ten are allowed")
    if options.out is not None:
        options.out.write_text(json.dumps(seconds, indent=2))


def steps(clone: Path, source: str, cache: bool) -> dict[str, float]:
    """Do what the README says, in a new clone; gives the seconds of each step."""
    seconds: dict[str, float] = {}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONUNBUFFERED": "1"} | ({} if cache else {"PIP_NO_CACHE_DIR": "1"})

    def timed(step: str, began: float) -> float:
        now = time.monotonic()
        seconds[step] = now - began
        print(f"{step}: {now - began:.1f} s", flush=True)
        return now

    began = time.monotonic()
    subprocess.run(["git", "clone", "-q", source, str(clone)], check=True)
    began = timed("`git clone`", began)
    readme = (clone / "README.md").read_text(encoding="utf-8")
    if missing := [command for command in COMMANDS.values() if command not in readme]:
        raise SystemExit(f"the README does not have {missing}: it has changed, change COMMANDS too")

    with running(COMMANDS["demo"], clone, environment) as process:
        for line in lines_of(process):
            if line.startswith(READY):
                began = timed("`make demo`: the environment is installed", began)
        if process.wait():
            raise SystemExit("`make demo` failed")
    began = timed("`make demo`: a scan is simulated, classified live, stored and queried", began)

    shell = f"{COMMANDS['activate']}; "
    with running(shell + COMMANDS["monitor"], clone, environment) as monitor:
        url = next(line.split()[1] for line in lines_of(monitor) if line.startswith("monitor "))
        with watching(clone, url, environment) as seen:
            seen("1")
            began = timed("`speckle monitor`: the scan is seen in the browser", began)
            typed = f"SPECKLE_DATA=demo-output {COMMANDS['session']} -c '{COMMANDS['scan']}'"
            with running(shell + typed, clone, environment) as session:
                first = next((line for line in lines_of(session) if "classify_grid_scan" in line), "")
                if not first:
                    raise SystemExit("the session did not scan")
                began = timed("`ipython`: a session, until a scan that was typed begins", began)
                seen("2")
                timed("that scan has ended, and all of its frames are seen in the browser", began)
                for _ in lines_of(session):
                    pass
    return seconds


@contextmanager
def running(command: str, folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a command line of bash in a folder, and end it and all that it started."""
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """Give what a command prints, and print it too."""
    if process.stdout is None:
        raise RuntimeError("the command's output is not a pipe")
    for line in process.stdout:
        print(f"    {line}", end="", flush=True)
        yield line


@contextmanager
def watching(clone: Path, url: str, environment: dict[str, str]) -> Iterator[Callable[[str], None]]:
    """Open the page in a browser; gives what waits until a scan is seen there with all of its frames."""
    command = [str(clone / ".venv/bin/python"), str(Path(__file__).resolve()), "--look", url]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as browser:
        if browser.stdin is None or browser.stdout is None:
            raise RuntimeError("the browser's input and output are not pipes")
        asked, told = browser.stdin, browser.stdout

        def seen(scan: str) -> None:
            asked.write(f"{scan}\n")
            asked.flush()
            if told.readline().strip() != scan:
                raise SystemExit(f"scan {scan} does not come on the page")

        try:
            yield seen
        finally:
            asked.close()


def look(url: str) -> None:
    """Say, for each scan id that comes in by a line, when its frames are on the page."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        for line in sys.stdin:
            scan = line.strip()
            cells = page.locator(".tabulator-cell[tabulator-field='scan']")
            row = cells.filter(has_text=re.compile(rf"^\s*{scan}\s*$")).first
            row.click(timeout=PAGE_TIMEOUT * 1e3)
            page.wait_for_function(SEEN, arg=[f"Scan {scan}", FRAMES], timeout=PAGE_TIMEOUT * 1e3)
            print(scan, flush=True)
        browser.close()


SEEN = """([scan, frames]) => {
  const [document] = (window.Bokeh || {}).documents || []
  const figure = document ? document.get_model_by_name("run") : null
  const texts = document ? [...document._all_models.values()].map((model) => String(model.text || "")) : []
  return figure && figure.renderers[0].data_source.data.x.length == frames &&
    texts.some((text) => text.includes(`${scan}<`) || text.includes(`${scan}&lt;`))
}"""

if __name__ == "__main__":
    main()
