"""A real Chromium without a window, and the monitor in a process of its own, as users have them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bluesky import RunEngine

from speckle_plugin.store import Store
from tests.testing.stored_runs import measure

ROOT = Path(__file__).parents[2]

KEY = "a-key-of-the-tests"


@dataclass
class Shown:
    """A monitor that runs."""

    url: str
    process: subprocess.Popen[str]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def measure_beside() -> Iterator[Callable[..., threading.Thread]]:
    """Give what runs `measure` on another thread, with a RunEngine of its own."""
    threads: list[threading.Thread] = []

    def start(store: Store, count: int, *, scan_id: int = 0, **settings: Any) -> threading.Thread:
        # Only the main thread may take Ctrl-C.
        engine = RunEngine({"scan_id": scan_id}, call_returns_result=True, context_managers=[])
        thread = threading.Thread(target=measure, args=(engine, store, count), kwargs=settings)
        thread.start()
        threads.append(thread)
        return thread

    yield start
    for thread in threads:
        thread.join(60)


@pytest.fixture(scope="module")
def start_monitor() -> Iterator[Callable[..., Shown]]:
    """Give what starts `speckle monitor`."""
    with ExitStack() as ending:

        def start(*options: Any, **environment: str) -> Shown:
            command = [sys.executable, "-c", "from speckle_plugin.cli import app; app()", "monitor"]
            process = subprocess.Popen(
                [*command, *map(str, options)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": str(ROOT), "SPECKLE_MONITOR_KEY": KEY} | environment,
            )
            ending.callback(Shown("", process).end)
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line.startswith("monitor  "), process.stderr.read()
            return Shown(line.split()[1], process)

        yield start


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Give a browser."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed: .ci/install-debian does it")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Give what opens a page; its errors, and requests to other machines, fail the test."""
    wrong: list[str] = []
    contexts = []

    def open_one(url: str, width: int = 1280, height: int = 900) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: wrong.append(asked.url) if "//localhost:" not in asked.url else None)
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not [text for text in wrong if not text.startswith(("data:", "blob:", "ws://localhost"))], wrong
