"""Other processes read the runs of an open store through its Tiled profile."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from speckle_plugin.store import TiledStore, write_profile

READER = """
import sys
import databroker
from speckle_plugin.store import connect
uid = sys.argv[1]
run = databroker.catalog["speckle-test"][uid]
data = run.primary.read()
assert data["det_image"].shape == (3, 8, 6), data
assert list(data["stage_x"].values) == [0, 0.5, 1]
assert run.validate(raise_on_error=True)
assert [name for name, _ in run.documents()][-1] == "stop"
assert databroker.catalog["speckle-test"][-1].start["uid"] is not None
print(connect("speckle-test").runs[uid].stop["classification"]["labels"])
"""


def test_databroker_in_a_second_process(
    data_directory: Path, measure: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "profiles"
    with TiledStore(data_directory) as store:
        uid = measure(store)
        path = write_profile(store, "speckle-test", folder)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        environment = {
            **os.environ,
            "TILED_PROFILES": str(folder),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        reader = subprocess.run(
            [sys.executable, "-c", READER, uid],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert reader.returncode == 0, reader.stderr
        assert reader.stdout.strip() == "[7]"
    assert not path.exists()  # or its port might soon be another program's


def test_a_profile_taken_over_stays(store: TiledStore, data_directory: Path, tmp_path: Path) -> None:
    with TiledStore(data_directory) as first:
        path = write_profile(first, "shared", tmp_path)
        write_profile(store, "shared", tmp_path)
    assert store.uri in path.read_text()


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a.yml"])
def test_names_of_profiles(store: TiledStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        write_profile(store, name, tmp_path)
