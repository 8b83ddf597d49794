"""The configuration of docs/how-to/facility-server.md as it stands, on a real PostgreSQL.

The server is a process of its own by `tiled serve config`; the session finds it by one setting.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import bluesky.plans as bp
import httpx
import pytest
import yaml

from simulated_devices import SpeckleDetector, quadrant
from speckle_plugin.frames.reader import FrameReadError
from speckle_plugin.network import find_bundle
from speckle_plugin.session import start_session
from speckle_plugin.store import (
    RunSaver,
    StorageError,
    StoredRun,
    TiledStore,
    connect,
    find_frames,
    find_runs,
)
from speckle_plugin.worker import Worker
from speckle_plugin.worker.catalog import listen_for_changes
from tests.store.postgres import find_binaries, free_port, postgres_cluster, process_that_answers
from tests.testing import documents_of

# Tiled (0.2.20) opens its subscriptions in a way that websockets (17) wants changed.
pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager")

CONFIGURATION = Path(__file__).parents[2] / "docs" / "how-to" / "facility-server.yml"


@dataclass(frozen=True)
class Facility:
    """A server of a facility: where it is, its key, and the folder of frames and arrays."""

    uri: str
    key: str
    data: Path


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (initdb, postgres): .ci/install-debian does it")
    folder = tmp_path_factory.mktemp("facility")
    key, port = secrets.token_hex(32), free_port()
    for name in ("frames", "arrays"):
        (folder / name).mkdir()
    with postgres_cluster(binaries) as make_database:
        environment = os.environ | {
            "FACILITY_CATALOG": make_database("catalog"),
            "FACILITY_TABLES": make_database("tables"),
            "FACILITY_DATA": str(folder),
            "FACILITY_KEY": key,
            "FACILITY_CACHE": "memory",
        }
        command = [sys.executable, "-m", "tiled", "serve", "config", str(CONFIGURATION), "--port", str(port)]
        with process_that_answers(command, port, folder / "tiled.log", environment):
            yield Facility(f"http://127.0.0.1:{port}/api/v1", key, folder)


@pytest.fixture
def profile(facility: Facility, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Tiled profile with the address and the key, as an administrator writes it."""
    folder = Path(os.environ["TILED_PROFILES"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "facility.yml"
    path.write_text(
        yaml.safe_dump({"facility": {"uri": f"{facility.uri}/metadata/runs?api_key={facility.key}"}})
    )
    connect(f"{facility.uri}", facility.key).close()  # makes the catalog of runs
    monkeypatch.setenv("SPECKLE_SERVER", "facility")
    monkeypatch.setenv("SPECKLE_DATA", str(facility.data))
    return "facility"


def test_a_session_by_one_setting(
    facility: Facility, profile: str, make_detector: Callable[..., SpeckleDetector]
) -> None:
    with start_session(engine="none", table=False) as session:
        assert session.store.uri.startswith(facility.uri)
        changed = threading.Event()
        changes = listen_for_changes(session.catalog, changed)
        det: Any = make_detector(data_directory=session.store.frames_directory, grid=quadrant(257))
        (uid,) = cast("tuple[str, ...]", session.RE(bp.count([det], 3), sample="A7"))
        assert not session.saver.failures
        assert changed.wait(20), "subscriptions work"
        changes.close()
        worker = Worker(session.store, facility.data / "workers", find_bundle(), "openvino")
        assert worker.work() == 1
        worker.close()
        run = session.catalog[uid]
        label = run.metadata["stop"]["classification"]["labels"][0]
        assert uid in find_runs(session.catalog, label=label, metadata={"sample": "A7"})
        assert len(find_frames(run, with_frames=True)) == 3
        assert [name for name, _ in run.documents()][-1] == "stop"
        assert run.validate(raise_on_error=True)


def test_frames_that_it_can_not_read(facility: Facility, profile: str, tmp_path: Path) -> None:
    """Tiled keeps the reason to itself: who reads them is told which file it was."""
    with connect(profile, directory=facility.data) as store:
        saver = RunSaver(store.runs, store.journal_directory)
        for name, doc in documents_of("elsewhere", [1], tmp_path):
            saver(name, doc)
        saver.close()
        with pytest.raises(FrameReadError) as error:
            list(StoredRun(store.runs["elsewhere"]).images_of("det_image").read([0]))
    said = str(error.value)
    assert "frame 0 of det_image: it answers 500 without a reason" in said
    assert f"{tmp_path}/elsewhere-0.h5 still there" in said and "readable_storage" in said


def test_nobody_reads_without_the_key(facility: Facility) -> None:
    for path in ("/metadata/", "/search/", "/metadata/runs"):
        assert httpx.get(facility.uri + path).status_code == 401
    with pytest.raises(StorageError, match="key"):
        connect(facility.uri, "0" * 64)


def test_no_secret_stands_in_the_configuration() -> None:
    text = CONFIGURATION.read_text()
    said = yaml.safe_load(text)
    assert said["authentication"]["single_user_api_key"] == "${FACILITY_KEY}"
    assert said["authentication"]["allow_anonymous_access"] is False
    assert said["uvicorn"]["host"] == "127.0.0.1" and said["expose_raw_assets"] is False


BROKER = """
import sys
import databroker
from databroker.queries import FullText, Key
uid, scan_id, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
catalog = databroker.catalog[name]
assert catalog[-1].start["uid"] == uid
assert catalog[uid].metadata["start"]["scan_id"] == scan_id
assert catalog[uid[:8]].start["uid"] == uid
assert catalog[scan_id].start["uid"] == uid
data = catalog[-1].primary.read()
assert data["det_image"].shape == (2, 65, 65), data
assert list(catalog.search(Key("sample") == "B3")) == [uid]
assert list(catalog.search(FullText("B3"))) == [uid]
names = [name for name, _ in catalog[-1].documents()]
assert (names[0], names[-1]) == ("start", "stop")
broker = databroker.Broker.named(name)
header = broker[-1]
assert header.start["uid"] == uid and header.stop["exit_status"] == "success"
assert len(header.table()) == 2 and list(header.data("det_image"))[0].shape == (65, 65)
assert [h.start["uid"] for h in broker(sample="B3")] == [uid]
print("read")
"""


def test_databroker_by_the_name_of_the_profile(
    data_directory: Path, make_detector: Callable[..., SpeckleDetector]
) -> None:
    with start_session(data_directory, engine="none", profile="broker_test", table=False) as session:
        det: Any = make_detector(data_directory=session.store.frames_directory)
        (uid,) = cast("tuple[str, ...]", session.RE(bp.count([det], 2), sample="B3"))
        read = subprocess.run(
            [sys.executable, "-c", BROKER, uid, "1", "broker_test"],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert read.stdout == "read\n", read.stderr
        assert isinstance(session.store, TiledStore)
