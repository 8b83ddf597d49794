"""`speckle complete` on data directories that a killed process and a failing classifier left behind."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import h5py
import pytest
from typer.testing import CliRunner, Result

from simulated_devices import SpeckleDetector, SpeckleSample, quadrant
from speckle_plugin.cli import app
from speckle_plugin.cli.complete import recorded_bundle
from speckle_plugin.live import PipelineSettings
from speckle_plugin.network import find_bundle, load_bundle
from speckle_plugin.session import start_session
from speckle_plugin.store import TiledStore, find_frames, find_runs
from tests.testing.commands import Refused

MEASURE = """
import os, signal, sys, time
import bluesky.plans as bp
from simulated_devices import SpeckleDetector, SpeckleSample, quadrant
from speckle_plugin.session import start_session

data, model = sys.argv[1:]
with start_session(data, model=model, table=False) as session:
    sample, folder = SpeckleSample(name="sample", seed=1), session.store.frames_directory
    one, two = (
        SpeckleDetector(name=name, sample=sample, data_directory=folder, grid=quadrant(65), seed=1,
                        frames_per_trigger=frames)
        for name, frames in (("one", 2), ("two", 1))
    )
    engine = session.live.classifier.engine
    answer, answers = engine.run, []

    def answer_once(inputs):
        if answers:
            time.sleep(600)
        answers.append(answer(inputs))
        return answers[-1]

    def die(name, doc):
        if name == "event" and doc["seq_num"] == 4:
            while not session.live.reports[uids[0]].to_label:
                time.sleep(0.1)
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)

    uids = []
    session.RE.subscribe(lambda name, doc: uids.append(doc["uid"]), "start")
    engine.run = answer_once
    session.RE.subscribe(die)
    session.RE(bp.count([one, two], 6))
"""


def complete(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["complete", *map(str, arguments)])


def frames_on_disk(data: Path) -> dict[str, int]:
    counts = {"one": 0, "two": 0}
    for path in (data / "frames").glob("*.h5"):
        with h5py.File(path) as file:
            counts[path.name.partition("-")[0]] += file["/entry/data/data"].shape[0]
    return counts


def test_a_scan_whose_process_was_killed(small_bundle: Path, data_directory: Path) -> None:
    with TiledStore(data_directory):  # whose server the scan and the commands join
        command = [sys.executable, "-c", MEASURE, str(data_directory), str(small_bundle)]
        killed = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        on_disk = frames_on_disk(data_directory)
        assert list((data_directory / "journal").glob("*.jsonl"))
        check_completion(data_directory, small_bundle, on_disk)


def check_completion(data: Path, small_bundle: Path, on_disk: dict[str, int]) -> None:
    other = complete("--data", data)  # the run names a model that is not shipped
    assert other.exit_code == 1
    assert "replayed" in other.stderr
    assert "was classified by small 0" in other.stderr
    assert "--all" in other.stderr

    done = complete("--data", data, "--model", small_bundle)
    assert done.exit_code == 0, done.stderr
    assert "model: small 0" in done.stderr
    with TiledStore(data) as store:
        (run,) = store.runs.values()
        table = find_frames(run)
        summary = run.stop["classification"]
        in_run = {key: store.runs[run.start["uid"]][f"primary/{key}_image"].shape for key in on_disk}
        assert not list(find_runs(store.runs, deferred=True))
    assert summary["frames"] == summary["classified"] == len(table)
    # The exposure that the process died in may be on disk without being in the run.
    for key, shape in in_run.items():
        rows = table[table["image_key"] == f"{key}_image"]
        frames = shape[0] * (shape[1] if len(shape) == 4 else 1)
        assert list(rows["frame_index"]) == list(range(frames))
        assert 4 <= shape[0] and frames <= on_disk[key]

    again = complete("--data", data)
    assert again.exit_code == 0
    assert "nothing to do: no run has deferred frames" in again.stderr


@pytest.fixture(scope="module")
def measured(
    small_bundle: Path, initialized: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A data directory with two runs of deferred frames."""
    data = Path(shutil.copytree(initialized, tmp_path_factory.mktemp("complete") / "data"))
    settings = PipelineSettings(pending_bytes=1, when_full="defer")
    with start_session(data, model=str(small_bundle), table=False, settings=settings) as session:
        common: dict[str, Any] = {
            "sample": SpeckleSample(name="sample", seed=1),
            "data_directory": session.store.frames_directory,
            "grid": quadrant(65),
            "seed": 1,
        }
        one = SpeckleDetector(name="one", frames_per_trigger=2, **common)
        two = SpeckleDetector(name="two", **common)
        for _ in range(2):
            session.RE(bp.count([one, two], 6))
        yield data


def test_runs_by_scan_id_and_uid(measured: Path, small_bundle: Path) -> None:
    with TiledStore(measured) as store:
        uids = [run.start["uid"] for run in store.runs.values()]
        assert list(find_runs(store.runs, deferred=True)) == uids
    unknown = complete("99", "--data", measured)
    assert unknown.exit_code == 2
    assert "no stored run has the scan id 99" in unknown.stderr
    first = complete("1", "--data", measured, "--model", small_bundle)
    assert first.exit_code == 0, first.stderr
    (row,) = [line for line in first.stdout.splitlines() if uids[0][:8] in line]
    scan_id, uid, stream, frames, classified, flagged, deferred = row.split()
    assert (scan_id, uid, stream, frames, deferred) == ("1", uids[0][:8], "classification_2", "18", "0")
    assert int(classified) > 0 and flagged == "0"

    both = complete("1", uids[1][:12], uids[1], "--data", measured, "--model", small_bundle)
    assert both.exit_code == 0, both.stderr
    assert f"the run {uids[0][:8]} was complete already" in both.stderr
    assert len([line for line in both.stdout.splitlines() if "classification_2" in line]) == 2

    everything = complete("1", "--data", measured, "--all", "--model", small_bundle)
    assert everything.exit_code == 0, everything.stderr
    assert "classification_3" in everything.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "nowhere"), "nowhere is no data directory"),
        (("--server", "http://127.0.0.1:9"), "no Tiled server answers at http://127.0.0.1:9"),
        (("--model", "nobody"), "no bundle at nobody"),
        (("--mask", "none.npy"), "no file none.npy"),
        (("--beam-center", "middle"), "give ROW,COLUMN in pixels"),
    ],
)
def test_bad_input(refused: Refused, arguments: tuple[str, ...], message: str) -> None:
    refused("complete", *arguments, why=message)


@pytest.mark.parametrize(
    ("model", "same_weights", "found"),
    [
        ("published", True, "published"),
        ("published", False, None),  # another version of it: the k step chooses
        ("mine", False, None),
        ("unavailable", False, None),
    ],
)
def test_the_model_is_that_of_the_run_if_it_is_shipped(
    model: str, same_weights: bool, found: str | None
) -> None:
    weights = find_bundle("published").sha256 if same_weights else "0" * 64

    class Run:
        start = {"uid": "0"}
        metadata = {"stop": {"classification": {"model": model, "weights_sha256": weights}}}

    bundle = recorded_bundle(Run())
    assert (bundle.name if bundle else None) == found


def test_the_small_bundle_is_not_a_shipped_one(small_bundle: Path) -> None:
    """The tests above rest on it."""
    assert load_bundle(small_bundle).sha256 not in {find_bundle(name).sha256 for name in (None, "published")}
