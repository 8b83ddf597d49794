"""What a Tiled server, journals or frames that fail make of commands: an exit code, and one line each."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.store import RunSaver, TiledStore
from tests.testing.commands import Speckle


def test_replay_tells_by_its_exit_code(speckle: Speckle, data_directory: Path) -> None:
    assert speckle("replay", "--data", data_directory).exit_code == 0
    (data_directory / "journal" / "damaged.jsonl").write_text("{}\n{}\n")
    result = speckle("replay", "--data", data_directory)
    assert result.exit_code == 1 and "damaged: failed:" in result.stdout


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadTimeout("")])
def test_a_server_that_fails_in_mid_work_is_one_line(error: Exception) -> None:
    app = typer.Typer()

    @app.command()
    @clear_errors
    def fail() -> None:
        raise error

    result = CliRunner().invoke(app)
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert result.stderr.startswith("Error: the Tiled server failed (")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("where", ["data", "server"])
def test_the_advice_after_a_failure_names_the_place_of_the_runs(
    data_directory: Path, tmp_path: Path, where: str
) -> None:
    with TiledStore(data_directory) as store:
        folder = data_directory if where == "data" else tmp_path / "elsewhere"
        saver = RunSaver(store.runs, folder / "journal")
        saver.outage.error = httpx.ConnectError("refused")
        saver.outage.note(saver.outage.error)
        saver("start", {"uid": "a", "time": 0.0})
        uri = store.uri
    command = f"speckle replay --data {folder}" + (f" --server {uri}" if where == "server" else "")
    assert saver.failures["a"].endswith(command)
    saver.close()


BACKEND = """
    import os
    from speckle_plugin.network import find_bundle
    from speckle_plugin.network.keras_backend import import_keras_on_tensorflow
    import_keras_on_tensorflow()
    import keras
    print(keras.backend.backend())
"""

OTHER_BACKEND = """
    import sys, types
    keras = types.ModuleType("keras")
    keras.backend = types.SimpleNamespace(backend=lambda: "jax")
    sys.modules["keras"] = keras
    sys.modules["tensorflow"] = types.ModuleType("tensorflow")
    from speckle_plugin.network.keras_backend import BackendError, import_keras_on_tensorflow
    try:
        import_keras_on_tensorflow()
    except BackendError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("code", "said"), [(BACKEND, "tensorflow\n"), (OTHER_BACKEND, "Keras runs on 'jax'")]
)
def test_keras_on_another_backend(code: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    shown = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith(said), shown.stderr
