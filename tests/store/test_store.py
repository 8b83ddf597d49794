"""Opening, closing and finding stores, with real servers and real processes."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from speckle_plugin.store import StorageError, TiledStore, connect


def run_script(text: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", text, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment, check=False
    )


def test_layout_and_secrecy(store: TiledStore) -> None:
    directory = store.frames_directory.parent
    assert {"frames", "journal", "tiled"} <= {path.name for path in directory.iterdir()}
    assert stat.S_IMODE((directory / "tiled").stat().st_mode) == 0o700
    assert {spec.name: spec.version for spec in store.runs.specs} == {"CatalogOfBlueskyRuns": "3.0"}
    assert store.uri.startswith("http://127.0.0.1:")
    key = store.api_key
    assert key
    assert len(key) == 64
    assert key in store.web_url
    assert key not in store.uri
    assert key not in repr(store)


def test_runs_are_there_again(data_directory: Path, measure: Callable[..., str]) -> None:
    with TiledStore(data_directory) as store:
        uid = measure(store)
        first_key = store.api_key
    with TiledStore(data_directory) as store:
        run = store.runs[uid]
        assert list(run["primary/det_image"][:, 0, 0]) == [0, 1, 2]
        assert store.runs[-1].start["uid"] == store.runs[uid[:8]].start["uid"] == uid
        assert store.api_key != first_key


def test_tables_held_by_another_program(data_directory: Path, measure: Callable[..., str]) -> None:
    with TiledStore(data_directory) as store:
        measure(store)
    script = (
        "import sys, duckdb, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    )
    database = str(data_directory / "tiled/storage.duckdb")
    holder = subprocess.Popen([sys.executable, "-c", script, database], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StorageError, match="open in another program"):
            TiledStore(data_directory)
    finally:
        holder.kill()
        holder.communicate()
    TiledStore(data_directory).close()  # the failure gave the lock back


def test_a_script_that_raises_ends(data_directory: Path) -> None:
    script = """if True:
        import sys, time
        from speckle_plugin.store import TiledStore
        store = TiledStore(sys.argv[1])
        print(time.time(), flush=True)
        raise ValueError("in the middle")
    """
    ended = run_script(script, str(data_directory))
    assert ended.returncode == 1
    assert "ValueError: in the middle" in ended.stderr
    assert time.time() - float(ended.stdout) < 10
    TiledStore(data_directory).close()


def test_closing_twice(data_directory: Path) -> None:
    store = TiledStore(data_directory)
    store.close()
    store.close()


def test_an_answer_comes_at_once(store: TiledStore) -> None:
    """It does not wait for the client's acknowledgement, which the kernel sends after 40 ms."""
    client = store.runs.context.http_client
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        client.get(f"{store.uri.partition('/metadata')[0]}/").raise_for_status()
        seconds.append(time.perf_counter() - began)
    assert min(seconds[5:]) < 0.035, "the first few are acknowledged at once in any case"


def test_connect(store: TiledStore) -> None:
    for uri in (store.uri, store.uri.removesuffix("/metadata/runs")):
        with connect(uri, store.api_key) as other:
            assert other.uri == store.uri
            with pytest.raises(StorageError, match="directory="):
                _ = other.frames_directory
    with connect(store.uri, store.api_key, directory=store.frames_directory.parent) as other:
        assert other.frames_directory == store.frames_directory


@pytest.mark.parametrize(
    ("uri", "key", "message"),
    [
        ("http://127.0.0.1:9/api/v1", "k", "no Tiled server answers at http://127.0.0.1:9"),
        (
            "http://256.1.1.1/?api_key=k",
            None,
            "expected the address of .* not 'http://256.1.1.1/': Invalid IPv4",
        ),
        ("no-such-profile", None, "there is no Tiled profile 'no-such-profile'"),
    ],
)
def test_connect_to_nobody(uri: str, key: str | None, message: str) -> None:
    start = time.monotonic()
    with pytest.raises(StorageError, match=message):
        connect(uri, key)
    assert time.monotonic() - start < 10


def test_connect_with_a_wrong_key(store: TiledStore) -> None:
    with pytest.raises(StorageError, match="is the API key right"):
        connect(store.uri, "0" * 64)


def test_a_forked_process_closes_nothing(store: TiledStore, tmp_path: Path) -> None:
    """Python runs the hooks of its exit at the end of a process that `multiprocessing` forks."""
    closed = tmp_path / "closed"
    store.call_at_close(closed.touch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork, from Python 3.12 on
        child = multiprocessing.get_context("fork").Process(target=store.close)
        child.start()
        child.join(30)
    assert child.exitcode == 0 and not closed.exists()
    assert isinstance(len(store.runs), int)  # the server answers


def test_openvino_reports_to_nobody() -> None:
    code = (
        "import speckle_plugin, sys, openvino, openvino.tools.ovc as ovc;"
        "assert sys.modules['openvino_telemetry'] is None;"
        "assert type(ovc.telemetry).__module__.endswith('telemetry_stub'), type(ovc.telemetry)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
