"""The monitor's page in a real Chromium: what people see while a real RunEngine measures."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from bluesky import RunEngine

from speckle_plugin.store import StoredRun, TiledStore, connect
from speckle_plugin.store.server.address import read_address
from tests.monitor.conftest import Shown
from tests.store.postgres import free_port, process_that_answers
from tests.testing.stored_runs import measure

pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager")

FRAMES = 6

FIGURE = "const figure = (name) => Bokeh.documents[0].get_model_by_name(name);"

DATA_OF = f"""(name) => {{ {FIGURE}
  const data = figure(name).renderers[0].data_source.data
  const image = data.image && data.image.length ? Array.from(data.image[0]) : []
  return {{length: (data.x || []).length, image}}
}}"""

TITLES = """() => {
  const [document] = (window.Bokeh || {}).documents || []
  return !document ? "" : [...document._all_models.values()]
    .filter((model) => model.type === "Figure").map((model) => model.title.text).join(" ")
}"""

PLACE_OF = f"""([name, x, y]) => {{ {FIGURE}
  const view = Bokeh.index.find_one(figure(name))
  const box = view.el.getBoundingClientRect()
  const canvas = view.canvas_view.el.getBoundingClientRect()
  const frame = view.frame
  return [canvas.x + frame.x_scale.compute(x), canvas.y + frame.y_scale.compute(y)]
}}"""


@pytest.fixture(scope="module")
def shown(store: TiledStore, start_monitor: Callable[..., Shown]) -> Shown:
    """A monitor of the module's store."""
    return start_monitor("--data", store.frames_directory.parent, "--port", 0)


TEXT = """() => {
  const all = []
  const go = (node) => {
    if (node.shadowRoot) go(node.shadowRoot)
    for (const child of node.childNodes) {
      if (child.nodeType === 3) all.push(child.textContent)
      else if (child.nodeName !== "STYLE" && child.nodeName !== "SCRIPT") go(child)
    }
  }
  go(document.body)
  return all.join(" ").replace(/\\s+/g, " ")
}"""


def text_of(page: Any) -> str:
    """Give what the page says, and the titles of its figures, which are drawn."""
    from playwright.sync_api import Error

    try:
        return f"{page.evaluate(TITLES)} {page.evaluate(TEXT)}"
    except Error:  # it is just being loaded again
        return ""


def wait_for(page: Any, *patterns: str, seconds: float = 20.0) -> str:
    """Wait until the page says all of these (its parts are drawn one by one), and give what it says."""
    end = time.monotonic() + seconds
    while True:
        text = text_of(page)
        missing = [pattern for pattern in patterns if not re.search(pattern, text)]
        if not missing:
            return text
        assert time.monotonic() < end, f"{missing} do not come in: {text[:2000]}"
        page.wait_for_timeout(100)


def test_runs_are_shown_and_a_click_shows_a_frame(
    store: TiledStore, run_engine: RunEngine, shown: Shown, open_page: Callable[..., Any]
) -> None:
    run_engine.md["scan_id"] = 100
    uids = [measure(run_engine, store, FRAMES, sample=f"S{i}") for i in range(3)]
    page = open_page(shown.url)
    wait_for(page, "Scan 103", "scan, S0", "scan, S2", "of 3 runs")
    wait_for(page, f"{FRAMES} classified", "network", "sevens", r"lowest confidence 98\.7%")
    assert page.locator("a", has_text="metadata in Tiled").get_attribute("href").endswith(f"{uids[2]}/")
    page.locator(".tabulator-row", has_text="S1").first.click()
    wait_for(page, "Scan 102")
    wait_for(page, rf"Frame {FRAMES - 1} ")
    place = page.evaluate(PLACE_OF, ["run", -1 + 2 * 2 / (FRAMES - 1), 7])
    page.mouse.click(*place)
    wait_for(page, r"Frame 2 \(65 x 65 pixels\)")
    (frame,) = StoredRun(store.runs[uids[1]]).images["det_image"].read([2])
    np.testing.assert_allclose(page.evaluate(DATA_OF, "frame")["image"], frame.ravel(), rtol=1e-6)
    assert "frame=det_image%3A2" in page.url and uids[1] in page.url
    wait_for(page, "7 disks")


def test_a_run_in_progress_grows_on_two_pages(
    store: TiledStore,
    measure_beside: Callable[..., threading.Thread],
    shown: Shown,
    open_page: Callable[..., Any],
) -> None:
    pages = [open_page(shown.url) for _ in range(2)]
    drawn = [0]
    scan = measure_beside(store, 9, scan_id=200, held=lambda frames: frames in (3, 6) and drawn[-1] < frames)
    wait_for(pages[0], r"\b201\b")
    for page in pages:
        page.locator(".tabulator-row").first.click()
        wait_for(page, "Scan 201")
    while scan.is_alive():
        drawn.append(page_length(pages[0]))
        pages[0].wait_for_timeout(100)
    assert {3, 6} <= set(drawn) and drawn == sorted(drawn), drawn
    for page in pages:
        wait_for(page, "ended: success")
        wait_for(page, "9 classified")
        wait_for(page, r"Frame 8 ")
        end = time.monotonic() + 20
        while page_length(page) != 9:  # the figure is drawn after the words
            assert time.monotonic() < end, page_length(page)
            page.wait_for_timeout(100)


SAMPLED = f"""() => {{
  const text = {TEXT}
  window.seen = []
  setInterval(() => {{
    const said = text()
    const head = said.includes("Scan 152") ? "new" : said.includes("Scan 151") ? "old" : "none"
    const points = Bokeh.documents[0].get_model_by_name("run").renderers[0].data_source.data.x.length
    const [last] = window.seen.slice(-1)
    if (!last || last[0] !== head || last[1] !== points) window.seen.push([head, points])
  }}, 5)
}}"""


def test_words_and_figure_of_another_run_come_together(
    store: TiledStore, run_engine: RunEngine, shown: Shown, open_page: Callable[..., Any]
) -> None:
    run_engine.md["scan_id"] = 150
    uids = [measure(run_engine, store, count) for count in (FRAMES, 3)]
    page = open_page(f"{shown.url}&run={uids[0]}")
    wait_for(page, rf"Scan 151.*{FRAMES} classified")
    page.wait_for_function(
        "() => Bokeh.documents[0].get_model_by_name('run').renderers[0].data_source.data.x.length"
    )
    page.evaluate(SAMPLED)
    page.locator(".tabulator-row", has_text="152").first.click()
    wait_for(page, "Scan 152.*3 classified")
    page.wait_for_timeout(1000)
    seen = [tuple(one) for one in page.evaluate("() => window.seen")]
    assert seen[0] == ("old", FRAMES) and seen[-1] == ("new", 3)
    assert set(seen) <= {("old", FRAMES), ("none", 0), ("new", 0), ("new", 3)}, seen


FRAMES_SAMPLED = f"""() => {{
  const text = {TEXT}
  window.frames_seen = []
  setInterval(() => {{
    const said = text()
    const drawn = Bokeh.documents[0].get_model_by_name("frame").title.text.match(/Frame (\\d+)/)
    const line = said.match(/det_image, frame (\\d+)/)
    if (drawn && line) window.frames_seen.push([drawn[1], line[1]].map(Number))
  }}, 5)
}}"""


def test_line_and_figure_of_another_frame_come_together(
    store: TiledStore, run_engine: RunEngine, shown: Shown, open_page: Callable[..., Any]
) -> None:
    uid = measure(run_engine, store, FRAMES)
    page = open_page(f"{shown.url}&run={uid}")
    wait_for(page, rf"Frame {FRAMES - 1} ")
    page.evaluate(FRAMES_SAMPLED)
    for frame in range(3):
        place = page.evaluate(PLACE_OF, ["run", -1 + 2 * frame / (FRAMES - 1), 7])
        page.mouse.click(*place)
        wait_for(page, rf"Frame {frame} \(")
        page.wait_for_timeout(300)
    seen = {tuple(pair) for pair in page.evaluate("() => window.frames_seen")}
    assert {(n, n) for n in (0, 1, 2, FRAMES - 1)} == seen


def page_length(page: Any) -> int:
    return int(page.evaluate(DATA_OF, "run")["length"])


def test_a_region_and_hold(
    store: TiledStore, run_engine: RunEngine, shown: Shown, open_page: Callable[..., Any]
) -> None:
    uid = measure(run_engine, store, FRAMES)
    page = open_page(f"{shown.url}&run={uid}&frame=det_image:3")
    wait_for(page, r"Frame 3 ")
    page.locator("button", has_text="linear").click()
    page.wait_for_timeout(1500)  # the figure moves as the bar of colours gets other numbers
    page.locator("[title*='Region of interest'], .bk-tool-icon-box-select").first.click()
    start = page.evaluate(PLACE_OF, ["frame", 10, 20])
    end = page.evaluate(PLACE_OF, ["frame", 30, 40])
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=5)
    page.mouse.up()
    wait_for(page, r"Mean of rows (19|20|21) to (39|40|41), columns (9|10|11) to (29|30|31)")
    assert "Frame 3 " in text_of(page), "it is held"
    page.locator("button", has_text="hold").click()
    wait_for(page, rf"Frame {FRAMES - 1} ")


@pytest.mark.parametrize("key", ["", "?key=wrong", "?key="])
def test_nothing_is_shown_without_the_key(
    store: TiledStore, shown: Shown, open_page: Callable[..., Any], key: str
) -> None:
    page = open_page(shown.url.partition("?")[0] + key)
    text = wait_for(page, "This page needs its key")
    assert "Scan" not in text and not page.locator(".tabulator-row, canvas").count()
    assert "wrong key" in text or not key.endswith("wrong")


def test_a_run_that_is_not_there(shown: Shown, open_page: Callable[..., Any]) -> None:
    wait_for(open_page(f"{shown.url}&run=<b>nothing</b>"), "There is no run <b>nothing</b>")


@pytest.mark.slow
def test_a_browser_that_comes_back_after_a_day(
    data_directory: Path,
    run_engine: RunEngine,
    start_monitor: Callable[..., Shown],
    open_page: Callable[..., Any],
) -> None:
    """The data directory's server was killed meanwhile, and the monitor started again."""
    port = free_port()
    with TiledStore(data_directory) as store:
        run_engine.md["scan_id"] = 300
        uid = measure(run_engine, store, 3)
        shown = start_monitor("--data", data_directory, "--port", port)
        page = open_page(f"{shown.url}&run={uid}")
        wait_for(page, "Scan 301")
        address = read_address(data_directory)
        assert address is not None
        os.kill(address.pid, signal.SIGKILL)
        shown.end()
        wait_for(page, "The connection to the monitor is lost")
        start_monitor("--data", data_directory, "--port", port)
        gone_in(page, "is lost", 60)
        text = wait_for(page, "Scan 301")
        assert uid in page.url and "does not answer" not in text
        measure(run_engine, store, 3)
        wait_for(page, r"\b302\b")


class ServerWithUsers:
    """A Tiled server with users, and keys of certain rights; `running` starts it, any number of times."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port, self._password = folder, free_port(), secrets.token_hex(8)
        self.uri = f"http://127.0.0.1:{self._port}/api/v1"
        for name in ("frames", "arrays"):
            (folder / name).mkdir()
        users = {
            "provider": "test",
            "authenticator": "tiled.authenticators:DictionaryAuthenticator",
            "args": {"users_to_passwords": {"ada": self._password}},
        }
        configuration = {
            "authentication": {
                "providers": [users],
                "tiled_admins": [{"provider": "test", "id": "ada"}],
                "secret_keys": [secrets.token_hex(32)],
            },
            "database": {"uri": f"sqlite:///{folder}/users.db", "init_if_not_exists": True},
            "catalog": {
                "uri": f"sqlite:///{folder}/catalog.db",
                "init_if_not_exists": True,
                "writable_storage": [str(folder / "arrays"), f"duckdb:///{folder}/tables.duckdb"],
                "readable_storage": [str(folder / "frames")],
            },
            "uvicorn": {"host": "127.0.0.1", "port": self._port},
        }
        (folder / "tiled.yml").write_text(yaml.safe_dump(configuration))

    def running(self) -> AbstractContextManager[None]:
        path = self._folder / "tiled.yml"
        command = [sys.executable, "-m", "tiled", "serve", "config", str(path), "--port", str(self._port)]
        return process_that_answers(command, self._port, self._folder / "tiled.log", dict(os.environ))

    def make_key(self, *scopes: str) -> str:
        login = {"username": "ada", "password": self._password, "grant_type": "password"}
        token = httpx.post(f"{self.uri}/auth/provider/test/token", data=login).raise_for_status().json()
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        wanted = {"scopes": scopes, "expires_in": 3600}
        made = httpx.post(f"{self.uri}/auth/apikey", json=wanted, headers=headers).raise_for_status()
        return str(made.json()["secret"])


@pytest.mark.slow
def test_a_key_that_may_only_read_is_enough_and_the_server_may_be_gone_for_a_while(
    tmp_path: Path,
    run_engine: RunEngine,
    start_monitor: Callable[..., Shown],
    open_page: Callable[..., Any],
) -> None:
    server = ServerWithUsers(tmp_path)
    with server.running():
        may_write, may_read = server.make_key("inherit"), server.make_key("read:metadata", "read:data")
        run_engine.md["scan_id"] = 400
        with connect(server.uri, may_write, directory=tmp_path) as store:
            measure(run_engine, store, 3)
            shown = start_monitor("--server", server.uri, "--port", 0, TILED_API_KEY=may_read)
            page = open_page(shown.url)
            wait_for(page, "Scan 401")
            wait_for(page, "3 classified")
            wait_for(page, r"Frame 2 ")
    wait_for(page, "The Tiled server does not answer since", seconds=30)
    with server.running():
        gone_in(page, "does not answer", 60)
        with connect(server.uri, may_write, directory=tmp_path) as store:
            measure(run_engine, store, 4)
        wait_for(page, r"\b402\b", seconds=30)
        shown.end()


def gone_in(page: Any, pattern: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while re.search(pattern, text_of(page)):
        assert time.monotonic() < end, f"{pattern!r} stays"
        page.wait_for_timeout(200)


def test_a_wrong_key_of_the_server_is_one_line(tmp_path: Path, store: TiledStore) -> None:

    command = [sys.executable, "-c", "from speckle_plugin.cli import app; app()", "monitor"]
    root = store.uri.partition("/metadata")[0]
    environment = os.environ | {"TILED_API_KEY": "wrong", "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [*command, "--server", root], capture_output=True, text=True, env=environment, check=False, timeout=60
    )
    assert ended.returncode == 2 and ended.stderr.startswith("Error: the Tiled server at")
    assert "is the API key right" in ended.stderr and len(ended.stderr.splitlines()) == 1
