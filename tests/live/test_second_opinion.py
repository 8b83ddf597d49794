"""Second opinions during real scans: rows of their own, balanced, and never at the scan's cost."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import bluesky.plans as bp
import numpy as np
import pytest
from bluesky import RunEngine
from rich.console import Console

from simulated_devices import SampleMap, SpeckleDetector, SpeckleSample, quadrant
from speckle_plugin.live import LiveTable, SecondOpinion
from speckle_plugin.plans import classify_count
from speckle_plugin.schema import Opinion, structure_keys
from speckle_plugin.solving.rows import structure_of_row
from speckle_plugin.store.write.recovery import recovered_stop
from speckle_plugin.structure import Certificate, SolveSettings
from tests.testing import Documents
from tests.testing.processes import solving_processes

PATIENT = SecondOpinion("all", workers=1, wait=120.0)


@pytest.fixture
def detector(tmp_path) -> SpeckleDetector:
    """A detector whose frames show two, three or seven disks, along x."""
    sample_map = SampleMap("gradient", disk_numbers=(2, 3, 7))
    sample = SpeckleSample(name="sample", sample_map=sample_map, family="poly", seed=1)
    return SpeckleDetector(name="det", sample=sample, data_directory=tmp_path, grid=quadrant(65), seed=2)


def balanced(documents: Documents) -> dict[str, Any]:
    """Give the summary of the only run, checked against its rows."""
    (stop,) = documents.of("stop")
    rows = documents.rows_of("structure")
    summary: dict[str, Any] = stop["structure"]
    assert summary["frames"] == len(rows) == stop["num_events"]["structure"]
    for opinion in Opinion:
        assert summary[opinion] == sum(row["certificate"] == opinion for row in rows)
    assert sum(summary[opinion] for opinion in Opinion) == summary["frames"]
    return summary


def test_every_frame_is_solved_beside_the_network(
    run_engine: RunEngine, make_live, detector, documents
) -> None:
    run_engine.subscribe(make_live(second_opinion=PATIENT))
    run_engine(bp.scan([detector], detector.sample.x, -1, 1, 3))
    summary, rows = balanced(documents), documents.rows_of("structure")
    truth = [row["det_truth_disk_number"] for row in documents.rows_of("primary")]
    found = {row["frame_index"]: row["disk_number"] for row in rows if row["certificate"] == "solved"}
    assert [found.get(i) for i in range(3)] == truth and sorted(truth) == [2, 3, 7]
    # The network says seven of every frame.
    assert (summary["solved"], summary["disagree"], summary["counts"]) == (3, 2, {"2": 1, "3": 1, "7": 1})
    assert summary["asked"] == "all" and summary["stream"] == "structure"
    assert documents.frame_counts()[0]["classified"] == 3


def test_a_row_tells_the_structure(run_engine: RunEngine, make_live, detector, documents) -> None:
    run_engine.subscribe(make_live(second_opinion=PATIENT))
    run_engine(bp.count([detector]))
    (row,) = documents.rows_of("structure")
    assert row.keys() == structure_keys(30).keys() and np.shape(row["disks"]) == (30, 6)
    structure = structure_of_row(row, row["disks"])
    assert structure.certificate is Certificate.SOLVED and structure.disk_number == row["disk_number"]
    assert row["mean_radius"] == pytest.approx(structure.r.mean())
    frame = _only_frame(documents)
    np.testing.assert_allclose(
        structure.calculated_frame((65, 65)), frame, rtol=1e-3, atol=1e-6 * frame.max()
    )
    (descriptor,) = [d for d in documents.of("descriptor") if d["name"] == "structure"]
    assert '"most_disks": 30' in descriptor["configuration"]["structure_solver"]["data"]["settings"]


def _only_frame(documents: Documents) -> np.ndarray:
    import h5py

    (resource,) = documents.of("resource")
    with h5py.File(f"{resource['root']}/{resource['resource_path']}") as file:
        return np.asarray(file["/entry/data/data"][0])


def test_the_summary_of_a_killed_run_counts_what_was_told(
    run_engine: RunEngine, make_live, detector, documents
) -> None:
    run_engine.subscribe(make_live(second_opinion=PATIENT))
    run_engine(bp.scan([detector], detector.sample.x, -1, 1, 3))
    (stop,) = documents.of("stop")
    recovered = recovered_stop(documents[:-1])
    assert recovered["structure"] == stop["structure"]
    assert recovered["classification"]["frames"] == 3  # an array of disks is no frame
    assert recovered["num_events"] == stop["num_events"]


def test_the_table_tells_of_second_opinions(run_engine: RunEngine, make_live, detector) -> None:
    console = Console(record=True, width=120)
    live = make_live(second_opinion=PATIENT)
    live.subscribe(LiveTable(console))
    run_engine.subscribe(live)
    run_engine(bp.scan([detector], detector.sample.x, -1, 1, 3))
    printed = console.export_text()
    assert "3 second opinions: 3 solved" in printed
    assert "2 frames are solved to another number than the network's" in printed


def test_only_unsure_frames_are_solved(run_engine, make_live, detector, documents, engine) -> None:
    run_engine.subscribe(make_live(second_opinion=SecondOpinion("unsure", workers=1, wait=120.0)))
    engine.logit = 9.0  # a confidence of 0.998
    run_engine(bp.count([detector], 2))
    assert documents.rows_of("structure") == [] and "structure" not in documents.of("stop")[0]
    documents.clear()
    engine.logit = 3.0
    run_engine(bp.count([detector], 2))
    assert balanced(documents)["solved"] == 2


def test_the_plan_chooses(run_engine: RunEngine, make_live, detector, documents) -> None:
    run_engine.subscribe(make_live(second_opinion=SecondOpinion(workers=1, wait=120.0)))
    run_engine(bp.count([detector]))
    run_engine(classify_count([detector], second_opinion="all"))
    without, asked = documents.of("stop")
    assert "structure" not in without and asked["structure"]["solved"] == 1
    with pytest.raises(ValueError, match="'none', 'unsure'"):
        run_engine(classify_count([detector], second_opinion="perhaps"))  # type: ignore[arg-type]


def test_what_is_not_solved_in_time_is_left(run_engine: RunEngine, make_live, detector, documents) -> None:
    run_engine.subscribe(make_live(second_opinion=SecondOpinion("all", workers=1, wait=0.0)))
    began = time.monotonic()
    run_engine(bp.count([detector], 5))
    assert time.monotonic() - began < 60.0
    assert balanced(documents)["left"] >= 1
    assert {row["reason"] for row in documents.rows_of("structure") if row["certificate"] == "left"} == {
        "not solved 0 s after the end of the run"
    }


def test_frames_beyond_the_memory_are_left(run_engine: RunEngine, make_live, detector, documents) -> None:
    run_engine.subscribe(make_live(second_opinion=SecondOpinion("all", workers=1, wait=60, pending_bytes=0)))
    run_engine(bp.count([detector], 2))
    assert balanced(documents)["left"] == 2


def test_a_process_that_dies_costs_its_frame(run_engine: RunEngine, make_live, detector, documents) -> None:
    others = solving_processes()
    live = make_live(second_opinion=PATIENT)
    (child,) = [process for process in _wait_for_processes() if process not in others]
    os.kill(child, signal.SIGSTOP)

    def end_it(name: str, doc: dict[str, Any]) -> None:
        if name == "stop":  # the first frame is on its way to the process, which does not answer
            os.kill(child, signal.SIGKILL)

    run_engine.subscribe(end_it)  # before the live classifier, which waits at the stop document
    run_engine.subscribe(live)
    run_engine(bp.count([detector], 3))
    summary = balanced(documents)
    assert (summary["left"], summary["solved"]) == (1, 2)
    (left,) = [row for row in documents.rows_of("structure") if row["certificate"] == "left"]
    assert "the process that solved it ended (exit code -9)" in left["reason"]


def test_frames_that_cannot_be_solved_say_why(run_engine, make_live, detector, documents) -> None:
    run_engine.subscribe(make_live(second_opinion=PATIENT))
    run_engine(bp.count([_Bare(detector)]))
    assert balanced(documents)["undecided"] == 1
    assert "does not state its wave number per pixel" in documents.rows_of("structure")[0]["reason"]


class _Bare:
    """The detector without its configuration."""

    def __init__(self, detector: SpeckleDetector) -> None:
        self._detector = detector

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def describe_configuration(self) -> dict[str, Any]:
        return {}

    def read_configuration(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"frames": "some"}, "second_opinion must be"),
        ({"max_confidence": 80}, "probability"),
        ({"workers": 0}, "workers"),
        ({"wait": -1}, "negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SecondOpinion(**{"solve": SolveSettings(), **settings})


def _wait_for_processes() -> list[int]:
    for _ in range(200):
        if found := solving_processes():
            return found
        time.sleep(0.05)
    return []
