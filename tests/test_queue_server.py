"""The profile in bluesky-queueserver: a real RE Manager and a real Redis, on loopback.

Start-up takes a few processes and the import of everything, so all that is asked of it is asked of one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from speckle_plugin.store import TiledStore, find_frames

STARTUP = Path(__file__).parents[1] / "profile_collection" / "startup"
USER = {"user": "test", "user_group": "primary"}


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


class Manager:
    """A client of the RE Manager: JSON by ZeroMQ."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        with zmq.Context() as context, context.socket(zmq.REQ) as request:
            request.linger = 0
            request.rcvtimeo = 10_000
            request.connect(self._address)
            request.send_json({"method": method, "params": parameters})
            answer: Any = request.recv_json()
            return dict(answer)

    def wait(self, state: str, seconds: float = 120, **also: Any) -> dict[str, Any]:
        deadline, status = time.monotonic() + seconds, dict[str, Any]()
        while time.monotonic() < deadline:
            status = self("status")
            if status["manager_state"] == state and also.items() <= status.items():
                return status
            time.sleep(0.2)
        raise TimeoutError(f"the manager is not {state} {also}: {status}")


def end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("there is no redis-server: install the Debian package redis-server (.ci/install-debian)")
    port = free_port()
    folder = tmp_path_factory.mktemp("redis")
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yield f"127.0.0.1:{port}"
    end(process)


@pytest.fixture(scope="module", params=["ophyd", pytest.param("ophyd-async", marks=pytest.mark.slow)])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queue") / request.param
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def manager(redis: str, data: Path) -> Iterator[Manager]:
    # As it is, but for the list of plans, which the manager writes into the folder.
    startup = Path(shutil.copytree(STARTUP, data / "startup"))
    control, info = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    command = [str(Path(sys.executable).with_name("start-re-manager")), "--startup-dir", str(startup)]
    command += ["--redis-addr", redis, "--redis-name-prefix", data.name]
    command += ["--zmq-control-addr", control, "--zmq-info-addr", info]
    environment = os.environ | {
        "SPECKLE_DATA": str(data / "data"),
        "SPECKLE_DETECTOR": data.name,
        "TILED_PROFILES": str(data / "profiles"),
        "PYTHONPATH": os.pathsep.join([str(STARTUP.parents[1]), *sys.path[1:]]),
    }
    with (data / "manager.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            client = Manager(control)
            client.wait("idle")
            assert client("environment_open")["success"]
            client.wait("idle", worker_environment_exists=True)
            yield client
        except BaseException:
            print((data / "manager.log").read_text()[-5000:])
            raise
        finally:
            end(process)


def test_plans_have_forms(manager: Manager) -> None:
    plans = manager("plans_allowed", user_group="primary")["plans_allowed"]
    assert {"classify_count", "classify_scan", "classify_grid_scan", "classify_fly", "count"} <= set(plans)
    for name in ("classify_count", "classify_scan", "classify_grid_scan", "classify_fly"):
        parameters = {parameter["name"]: parameter for parameter in plans[name]["parameters"]}
        assert parameters["when_full"]["annotation"]["type"] == "typing.Literal['wait', 'defer']"
        assert all(parameter.get("description") for parameter in parameters.values()), name
    devices = manager("devices_allowed", user_group="primary")["devices_allowed"]
    assert {"det", "sample"} <= set(devices)
    assert {"x", "y"} <= set(devices["sample"]["components"])


def test_plans_run_and_are_classified(manager: Manager, data: Path) -> None:
    grid = ["sample.y", -1, 1, 2, "sample.x", -1, 1, 2]
    items: list[dict[str, Any]] = [
        {"name": "classify_count", "args": [["det"]], "kwargs": {"num": 3, "when_full": "defer"}},
        {"name": "classify_grid_scan", "args": [["det"], *grid]},
        {"name": "classify_scan", "args": [["det"], "sample.x", -1, 1], "kwargs": {"num": 2}},
        {"name": "classify_fly", "args": ["det", 4]},
        {"name": "count", "args": [["det"]], "kwargs": {"num": 2}},
    ]
    for item in items:
        answer = manager("queue_item_add", item={"item_type": "plan", **item}, **USER)
        assert answer["success"], answer
    refused = {
        "item_type": "plan",
        "name": "classify_count",
        "args": [["det"]],
        "kwargs": {"when_full": "no"},
    }
    assert not manager("queue_item_add", item=refused, **USER)["success"]
    assert manager("queue_start")["success"]
    manager.wait("idle")
    history = manager("history_get")["items"]
    assert [item["result"]["exit_status"] for item in history] == ["completed"] * 5, history
    assert manager("environment_close")["success"]
    manager.wait("idle", worker_environment_exists=False)
    with TiledStore(data / "data") as store:
        table = find_frames(store.runs)
        assert table.groupby("run_uid", sort=False).size().tolist() == [3, 4, 2, 4, 2]
        assert set(table["status"]) == {"classified"}
        assert (table["disk_number"] == table["truth_disk_number"]).mean() > 0.8
