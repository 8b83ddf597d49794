"""Attacks on a data directory's server, on its key and by files; docs/security.md says what each is about."""

from __future__ import annotations

import ast
import dataclasses
import http.client
import io
import json
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import httpx
import numpy as np
import pytest

from speckle_plugin.network import Bundle, BundleError, load_bundle, save_bundle
from speckle_plugin.network.bundle import LARGEST, hash_contents
from speckle_plugin.network.bundle_checks import ARCHITECTURES
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.store import RunSaver, StorageError, TiledStore, connect, write_profile
from tests.store.applications import same_application
from tests.testing import documents_of

ROOT = Path(__file__).parents[2]
DATASET = "/entry/data/data"
SECRET = np.full((1, 3, 4), 1234.5)
ANSWERS_ANYBODY = {"/healthz", "/api/v1", "/api/v1/"}


class Target:
    """A store with one run, its application, and what nobody may learn."""

    def __init__(self, store: TiledStore, application: Any, log: list[str]) -> None:
        self.store, self.application, self.log = store, application, log
        self.key = str(store.api_key)
        self.base = store.uri.split("/api/v1")[0]
        self.uid = str(uuid.uuid4())
        saver = RunSaver(store.runs, store.journal_directory)
        for name, doc in documents_of(self.uid, [1, 2], store.frames_directory):
            saver(name, doc)
        assert saver.failures == {}
        self.with_key = self.client(f"Apikey {self.key}")

    def client(self, authorization: str | None) -> httpx.Client:
        headers = {"Connection": "close"}  # after a failure the server ends the connection
        if authorization:
            headers["Authorization"] = authorization
        return httpx.Client(base_url=self.base, headers=headers, trust_env=False, timeout=20)


class Log(logging.Handler):
    """Keeps all that is logged, from debugging messages on."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(scope="module")
def target(initialized: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    log, root = Log(), logging.getLogger()
    level = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)

    store = TiledStore(tmp_path_factory.mktemp("target") / "data")
    with store, same_application(initialized) as application:
        one = Target(store, application, log.lines)
        with one.with_key:
            yield one
    root.removeHandler(log)
    root.setLevel(level)


# Without the key


def requests_of(target: Target) -> Iterator[tuple[str, str]]:
    """Give method and address for each route that the application has, and some that it has not."""
    from fastapi.routing import iter_route_contexts

    image = f"runs/{target.uid}/primary/det_image"
    for route in iter_route_contexts(target.application.routes):
        path = route.path or ""
        for name in ("runs", image):
            address = re.sub(r"\{[^}]*\}", name, path)
            for method in sorted(getattr(route, "methods", None) or {"GET"}):
                yield method, address
    yield from [("GET", f"/zarr/v2/{image}/0.0.0"), ("GET", f"/zarr/v3/{image}/c/0/0/0"), ("GET", "/metrics")]
    yield from [
        ("GET", "/ui/index.html"),
        ("GET", "/ui/..%2f..%2fetc/passwd"),
        ("OPTIONS", "/api/v1/search/"),
    ]


@pytest.mark.parametrize("authorization", [None, "Apikey " + "0" * 64, "Apikey", "Bearer 0", "Basic Og=="])
def test_no_route_answers_without_the_key(target: Target, authorization: str | None) -> None:
    tried = 0
    with target.client(authorization) as client:
        for method, address in requests_of(target):
            answer = client.request(method, address)
            if address in ANSWERS_ANYBODY:
                given = answer.text + str(answer.headers)
                for secret in (target.key, target.uid, str(target.store.frames_directory.parent)):
                    assert secret not in given
            else:
                assert answer.status_code == 401, (method, address, answer.text[:100])
            tried += 1
    assert tried > 100, "the routes were not found"


def test_the_key_opens_what_was_closed(target: Target) -> None:
    """So the test before does not pass by trying routes that are not there."""
    image, before = f"runs/{target.uid}/primary/det_image", len(target.log)
    for address in (f"/zarr/v2/{image}/0.0.0", "/openapi.json", "/", "/ui/index.html", "/tiled-ui-settings"):
        assert target.with_key.get(address).status_code == 200, address
        with target.client(None) as browser:
            assert browser.get(address, params={"api_key": "0" * 64}).status_code == 401
            assert browser.get(address, params={"api_key": target.key}).status_code == 200
    with target.client(None) as browser:  # the first page gives a browser the cookie for the others
        browser.get("/", params={"api_key": target.key})
        assert browser.get("/ui/").status_code == 200
        browser.cookies.clear()
        browser.cookies.set("tiled_api_key", "0" * 64)
        assert browser.get("/ui/").status_code == 401
    del target.log[before:]  # what this test's own browser logs, key and all


def test_no_subscription_without_the_key(target: Target) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect as open_socket

    uri = target.base.replace("http", "ws")
    for address in (f"/api/v1/stream/single/runs/{target.uid}", "/api/graphql"):
        with pytest.raises(InvalidStatus, match="HTTP 403"):
            open_socket(uri + address, proxy=None)
    with open_socket(
        f"{uri}/api/v1/stream/single/runs/{target.uid}?envelope_format=json",
        additional_headers={"Authorization": f"Apikey {target.key}"},
        proxy=None,
    ):
        pass


def test_it_listens_on_loopback_only(target: Target) -> None:
    port = f"{httpx.URL(target.base).port:04X}"
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(table):
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
            listening += [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port}")]
    assert listening == [f"0100007F:{port}"]


# With the key: files outside of the data directory


@pytest.fixture(scope="module")
def outside(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of secrets, and make files in frames/ that refer to them."""
    folder, frames = tmp_path_factory.mktemp("outside"), target.store.frames_directory
    with h5py.File(folder / "secret.h5", "w") as file:
        file[DATASET] = SECRET
    (folder / "raw.bin").write_bytes(SECRET.tobytes())
    (folder / "secret.csv").write_text("a,b\n1,2\n")
    with h5py.File(frames / "good.h5", "w") as file:
        file[DATASET] = SECRET
        file["soft"] = h5py.SoftLink(DATASET)
    with h5py.File(frames / "external.h5", "w") as file:
        file.create_group("/entry/data")
        file[DATASET] = h5py.ExternalLink(str(folder / "secret.h5"), DATASET)
    with h5py.File(frames / "soft.h5", "w") as file:
        file["/other"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")
        file.create_group("/entry/data")
        file[DATASET] = h5py.SoftLink(f"/other{DATASET}")
    with h5py.File(frames / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(SECRET.shape, "f8")
        layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), DATASET, SECRET.shape)
        file.create_virtual_dataset(DATASET, layout)
    with h5py.File(frames / "raw.h5", "w") as file:
        whole = h5py.h5f.UNLIMITED
        file.create_dataset(DATASET, SECRET.shape, "f8", external=[(str(folder / "raw.bin"), 0, whole)])
    (frames / "link.h5").symlink_to(folder / "secret.h5")
    (frames / "folder").symlink_to(folder)
    return folder


def register(target: Target, files: list[str], **changes: Any) -> str:
    """Register HDF5 files, as any client with the key can, and give the address of the node."""
    from tiled.structures.array import ArrayStructure

    structure = dataclasses.asdict(ArrayStructure.from_array(np.repeat(SECRET, len(files), axis=0)))
    structure["data_type"] = {"endianness": "little", "kind": "f", "itemsize": 8, "dt_units": None}
    parameter = changes.pop("parameter", "data_uris")
    source = {
        "structure_family": "array",
        "mimetype": "application/x-hdf5",
        "parameters": {"dataset": changes.pop("dataset", DATASET)},
        "management": "external",
        "structure": structure,
        "assets": [
            {
                "data_uri": f"file://localhost{file}",
                "is_directory": os.path.isdir(file),
                "parameter": parameter,
                "num": number if parameter == "data_uris" else None,
            }
            for number, file in enumerate(files)
        ],
    } | changes
    node = {"structure_family": source["structure_family"], "metadata": {}, "specs": []}
    name = uuid.uuid4().hex
    answer = target.with_key.post(
        "/api/v1/register/runs", json={"id": name, "data_sources": [source], **node}
    )
    assert answer.status_code == 200, answer.text
    return f"runs/{name}"


def read(target: Target, node: str, family: str = "array") -> httpx.Response:
    return target.with_key.get(f"/api/v1/{family}/full/{node}", params={"format": "application/json"})


FOREIGN: dict[str, tuple[str, dict[str, Any]]] = {
    "a file outside": ("{outside}/secret.h5", {}),
    "a file outside, of no parameter": ("{outside}/secret.h5", {"parameter": None}),
    "..": ("{frames}/../../../{up}/secret.h5", {}),
    "a symbolic link": ("{frames}/link.h5", {}),
    "a folder that is a symbolic link": ("{frames}/folder/secret.h5", {}),
    "an external link": ("{frames}/external.h5", {}),
    "a soft link to an external link": ("{frames}/soft.h5", {}),
    "a virtual dataset": ("{frames}/virtual.h5", {}),
    "external raw data": ("{frames}/raw.h5", {}),
    "an external link, cut": ("{frames}/external.h5", {"parameters": {"dataset": DATASET, "slice": "0:1"}}),
    "another file as a parameter": (
        "{frames}/good.h5",
        {"parameters": {"dataset": DATASET, "data_uris": ["file://localhost/etc/passwd"]}},
    ),
}


@pytest.mark.parametrize(
    ("attack", "many"),
    [(attack, many) for attack in FOREIGN for many in (False, True) if not (many and FOREIGN[attack][1])],
)
def test_no_file_outside_is_read(target: Target, outside: Path, attack: str, many: bool) -> None:
    pattern, changes = FOREIGN[attack]
    frames = target.store.frames_directory
    up = os.path.relpath(outside, frames.parents[2])
    file = pattern.format(outside=outside, frames=frames, up=up)
    files = [f"{frames}/good.h5", file] if many else [file]
    answer = read(target, register(target, files, **dict(changes)))
    assert "1234.5" not in answer.text
    assert answer.status_code == 403
    reasons = "outside of the folders", "lies in another file", "in another folder", "no HDF5 file"
    assert any(reason in answer.text for reason in reasons)


def test_what_is_inside_is_read(target: Target, outside: Path) -> None:
    """So the test before does not pass since nothing can be read at all."""
    good = f"{target.store.frames_directory}/good.h5"
    for files in ([good], [good, good.replace("good", "good2")]):
        shutil.copy(good, files[-1]) if len(files) > 1 else None
        for dataset in (DATASET, "soft"):
            answer = read(target, register(target, files, dataset=dataset))
            assert answer.json() == np.repeat(SECRET, len(files), axis=0).tolist()
    tree = register(target, [good], structure_family="container", structure=None, parameters={})
    assert "entry" in read(target, tree, "container").text


def test_no_tree_of_another_file(target: Target, outside: Path) -> None:
    for name in ("external", "virtual", "raw"):
        file = f"{target.store.frames_directory}/{name}.h5"
        node = register(target, [file], structure_family="container", structure=None, parameters={})
        answer = read(target, node, "container")
        assert answer.status_code == 403 and "lies in another file" in answer.text


def test_no_raw_files(target: Target, outside: Path) -> None:
    """Tiled's download of raw files checks no path at all."""
    for file in ("/etc/passwd", "/etc", f"{target.store.frames_directory}/good.h5"):
        node = register(target, [file], parameter=None)
        sources = target.with_key.get(f"/api/v1/metadata/{node}", params={"include_data_sources": True})
        number = sources.json()["data"]["attributes"]["data_sources"][0]["assets"][0]["id"]
        for route, more in (("bytes", {}), ("bytes", {"relative_path": "passwd"}), ("manifest", {})):
            answer = target.with_key.get(f"/api/v1/asset/{route}/{node}", params={"id": number, **more})
            assert answer.status_code == 403, (file, route)


def test_no_table_that_is_a_file(target: Target, outside: Path) -> None:
    """DuckDB takes a table "a.csv" for the file of this name."""
    import pandas as pd
    from tiled.structures.table import TableStructure

    (uri,) = {
        source.assets[0].data_uri
        for source in target.store.runs[target.uid]["primary/internal"].data_sources()
    }
    structure = dataclasses.asdict(TableStructure.from_pandas(pd.DataFrame({"a": [1], "b": [2]})))
    asset = {"is_directory": False, "parameter": "data_uri", "num": None}
    for database, table in ((uri, f"{outside}/secret.csv"), (f"duckdb:///{outside}/x.duckdb", "t")):
        node = register(
            target,
            [],
            structure_family="table",
            structure=structure,
            mimetype="application/x-tiled-sql-table",
            parameters={"table_name": table, "dataset_id": 1},
            assets=[{**asset, "data_uri": database}],
        )
        answer = read(target, node, "table")
        assert answer.status_code == 403, answer.text


def test_no_folder_outside_is_deleted(target: Target, outside: Path) -> None:
    """Tiled deletes what a client says is the server's own."""
    victim = outside / "victim"
    victim.mkdir()
    for management in ("writable", "locked", "immutable"):
        node = register(target, [f"{target.store.frames_directory}/good.h5"])
        sources = target.with_key.get(f"/api/v1/metadata/{node}", params={"include_data_sources": True})
        source = sources.json()["data"]["attributes"]["data_sources"][0]
        asset = {"data_uri": f"file://localhost{victim}", "is_directory": True, "parameter": "data_uris"}
        source |= {"management": management, "assets": [{**asset, "num": 1}]}
        answer = target.with_key.put(f"/api/v1/data_source/{node}", json={"data_source": source})
        assert answer.status_code == 403 and "outside of the folders" in answer.text
        target.with_key.delete(f"/api/v1/metadata/{node}", params={"external_only": False, "recursive": True})
        assert victim.is_dir()


# The key


def test_the_key_is_nowhere(target: Target, tmp_path: Path) -> None:
    """Errors, requests that fail, a browser's first request: no log, journal, run or message has the key."""
    store, said = target.store, []
    for page in ("/", "/api/v1/metadata/nothing"):  # not by httpx, which logs what a browser would not
        browser = http.client.HTTPConnection(httpx.URL(target.base).netloc.decode())
        browser.request("GET", f"{page}?api_key={target.key}")
        assert browser.getresponse().status in (200, 404)
        browser.close()
    for address in ("http://127.0.0.1:9/api/v1", f"{store.uri}/nothing"):
        with pytest.raises(StorageError) as error:
            connect(f"{address}?api_key={target.key}")
        said.append(f"{error.value!r} {error.value}")
    saver = RunSaver(store.runs, tmp_path)
    saver("start", {"uid": target.uid, "time": 1.0})  # Tiled refuses a run that is there
    assert set(saver.failures) == {target.uid}
    said += [repr(store), repr(store.runs), str(saver.failures), repr(store.runs[target.uid].metadata)]
    said.append(repr(list(store.runs[target.uid].documents())))
    saver.close()
    door = store.frames_directory.parent / "tiled" / "server.json"  # where its owner reads the key
    assert stat.S_IMODE(door.stat().st_mode) == 0o600
    files = [path for path in (store.frames_directory.parent).rglob("*") if path.is_file() and path != door]
    said += [path.read_bytes().decode(errors="replace") for path in [*files, *tmp_path.glob("*.jsonl")]]
    assert any("api_key=..." in text for text in said), "the browser's request is in the access log"
    assert len(target.log) > 20
    for text in [*said, *target.log]:
        assert target.key not in text, text[:300]


def test_only_the_owner_reads_the_profile(target: Target, tmp_path: Path) -> None:
    path = write_profile(target.store, "speckle_security", tmp_path)
    assert target.key in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((target.store.frames_directory.parent / "tiled").stat().st_mode) == 0o700


SESSION = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
import bluesky.plans as bp
from pathlib import Path
from simulated_devices import SpeckleDetector, SpeckleSample
from speckle_plugin.session import start_session

with start_session(sys.argv[1], table=True) as session:
    Path(sys.argv[2]).write_text(session.store.api_key)
    sample = SpeckleSample(name="sample", seed=1)
    det = SpeckleDetector(name="det", sample=sample, data_directory=session.store.frames_directory, seed=1)
    session.RE(bp.count([det], 2))
    print(session, session.store, session.catalog, session.saver, session.live)
    try:
        session.catalog["nothing"]
    except KeyError as error:
        print(error)
    raise RuntimeError("in the middle")
"""


@pytest.mark.slow
def test_a_session_does_not_tell_the_key(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SESSION, str(tmp_path / "data"), str(tmp_path / "key")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    key = (tmp_path / "key").read_text()
    assert "RuntimeError: in the middle" in ended.stderr
    assert "DEBUG" in ended.stderr
    said = ended.stdout + ended.stderr
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    for text in [said, *(path.read_bytes().decode(errors="replace") for path in files)]:
        assert key not in text


# Bundles and checkpoints


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "small.bundle"
    monkeypatch.setitem(ARCHITECTURES, "one weight", lambda class_count: {"kernel": (2, 2)})
    weights = {"kernel": np.ones((2, 2), np.float32)}
    save_bundle(Bundle("small", "1", (2, 3), Preprocessing(), weights, architecture="one weight"), path)
    return path


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Change the parts of a bundle and give it a right hash, as an attacker would."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    parts["SHA256"] = hash_contents(parts["manifest.json"], parts["weights.npz"]).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def packed(header: bytes, zeros: int) -> bytes:
    """Give an .npz with one array of so many zero bytes."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("kernel.npy", "w", force_zip64=True) as member,
    ):
        member.write(header)
        for _ in range(zeros >> 20):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


def header(*shape: int) -> bytes:
    buffer = io.BytesIO()
    description = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("manifest.json", lambda: b" " * (65 << 20), "would take 68157440 bytes"),
        ("weights.npz", lambda: packed(header(5 << 20), 20 << 20), "would take"),
        ("weights.npz", lambda: packed(header(10**9, 10**3), 0), "declares the shape"),
        ("manifest.json", lambda: b"[" * 1_000_000, "can't be read"),
    ],
    ids=["a manifest that unpacks to 65 MB", "weights that unpack to 20 MB", "an array of 4 TB", "deep JSON"],
)
def test_bombs(
    bundle: Path, part: str, content: Callable[[], bytes], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LARGEST, "weights.npz", 16 << 20)  # the real limit takes long to exceed
    rewrite(bundle, lambda parts: parts.update({part: content()}))
    assert bundle.stat().st_size < 4 << 20
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle)


def test_nothing_is_unpacked_to_the_disk(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    rewrite(bundle, lambda parts: parts.update({"../escaped": b"x", "/tmp/speckle-escaped": b"x"}))
    before = {path for path in tmp_path.rglob("*")}
    assert load_bundle(bundle).name == "small"
    assert {path for path in tmp_path.rglob("*")} == before
    assert not Path("/tmp/speckle-escaped").exists()


@pytest.mark.parametrize("architecture", ["os.system", "training.train:main", "../resnet50"])
def test_an_architecture_is_one_of_ours(bundle: Path, architecture: str) -> None:
    def change(parts: dict[str, bytes]) -> None:
        manifest = json.loads(parts["manifest.json"]) | {"architecture": architecture}
        parts["manifest.json"] = json.dumps(manifest).encode()

    rewrite(bundle, change)
    with pytest.raises(BundleError, match="its architecture is .*; known are resnet50"):
        load_bundle(bundle)


LAMBDA = """
import sys, keras
from pathlib import Path
import training.fast_network
model = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(lambda x: (open("exploded", "w"), x)[1])])
Path("exploded").unlink(missing_ok=True)
model.save("checkpoint.keras")
try:
    keras.models.load_model("checkpoint.keras")
except ValueError as error:
    print("refused" if "safe_mode" in str(error) or "Lambda" in str(error) else error)
print(Path("exploded").exists())
"""


def test_a_checkpoint_with_code_is_refused(tmp_path: Path) -> None:
    """As training/train.py loads it, after importing the layers that Keras then knows."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-c", LAMBDA]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert ended.stdout.split() == ["refused", "False"], ended.stderr


def test_safety_is_switched_off_nowhere() -> None:
    """Loaders that run code, and arguments that let them, are not in our code."""
    calls = {"eval", "exec", "enable_unsafe_deserialization", "unsafe_load"}
    arguments = {"safe_mode": False, "allow_pickle": True, "shell": True}
    folders = ("speckle_plugin", "simulated_devices", "training", "profile_collection", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 60
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                forbidden = {"pickle", "dill", "joblib", "cloudpickle", "marshal"}
                # tests/worker/test_pickled.py: `test_a_pickle_runs_nothing`.
                allowed = {"pickle"} if path.name == "pickled.py" else set()
                assert not names & forbidden - allowed, path
            if isinstance(node, ast.Call):
                function = node.func
                name = getattr(function, "attr", getattr(function, "id", ""))
                called_on_module = isinstance(function, ast.Name) or name != "eval"
                assert not (called_on_module and name in calls), f"{path}:{node.lineno}"
                for keyword in node.keywords:
                    value = getattr(keyword.value, "value", None)
                    assert keyword.arg not in arguments or value is not arguments[keyword.arg], path
