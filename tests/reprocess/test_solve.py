"""Second opinions on stored runs: what is left is solved, what is known is kept, and runs are found by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine

from speckle_plugin.explain.solved_frame import solve_frame
from speckle_plugin.live import SecondOpinion
from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.reprocess import complete_run
from speckle_plugin.reprocess.consistency import CompletionError
from speckle_plugin.reprocess.solve import solve_run
from speckle_plugin.schema import Opinion
from speckle_plugin.solving import SolverPool
from speckle_plugin.solving.rows import structure_of_row
from speckle_plugin.store import StoredRun, TiledStore, find_frames, find_runs
from speckle_plugin.structure import SolveSettings
from tests.testing.engine import FakeEngine
from tests.testing.stored_runs import CLASSES, SETTINGS, measure

AT_ONCE = SecondOpinion("all", workers=1, wait=0.0)
"""Of which nothing, or next to nothing, is solved during the scan."""


@pytest.fixture(scope="module")
def pool() -> Iterator[SolverPool]:
    with SolverPool(1) as opened:
        yield opened


def balanced(stored: StoredRun) -> dict[str, Any]:
    """Give the summary of a run's second opinions, checked against its rows."""
    summary = dict(stored.structure_summary)
    rows = stored.structures.rows.values()
    for opinion in Opinion:
        assert summary[opinion] == sum(row.data["certificate"] == opinion for row in rows)
    assert summary["frames"] == len(rows) == (stored.stop or {})["num_events"][summary["stream"]]
    return summary


def test_what_the_scan_left_is_solved(run_engine: RunEngine, store: TiledStore, pool: SolverPool) -> None:
    uid = measure(run_engine, store, 3, second_opinion=AT_ONCE)
    before = balanced(StoredRun(store.runs[uid]))
    assert before["left"] >= 1 and before["stream"] == "structure"
    assert uid in {run.start["uid"] for run in find_runs(store.runs, certificate="left").values()}

    reported: list[tuple[int, int]] = []
    solution = solve_run(store.runs[uid], pool, report=lambda *done: reported.append(done))
    assert (solution.stream, solution.solved_now) == ("structure_2", before["left"])
    assert reported[0] == (0, before["left"]) and reported[-1] == (before["left"], before["left"])
    stored = StoredRun(store.runs[uid])
    after = balanced(stored)
    assert (after["frames"], after["solved"], after["left"]) == (3, 3, 0)
    # The gradient shows each of the three numbers once; the network says two of them.
    truth = find_frames(store.runs[uid])["truth_disk_number"].to_numpy()
    found = [stored.structures.rows["det_image", i].data["disk_number"] for i in range(3)]
    np.testing.assert_array_equal(found, truth)
    assert after["disagree"] == sum(n != 7 for n in truth)
    assert stored.summary["frames"] == 3  # the labels are as they were

    again = solve_run(store.runs[uid], pool)
    assert (again.stream, again.solved_now) == ("structure_2", 0)


def test_a_run_without_opinions_is_solved_whole(
    run_engine: RunEngine, store: TiledStore, pool: SolverPool
) -> None:
    uid = measure(run_engine, store, 2, classified=False)
    solution = solve_run(store.runs[uid], pool)
    assert (solution.stream, solution.summary["solved"]) == ("structure", 2)
    row = StoredRun(store.runs[uid]).structures.rows["det_image", 1]
    structure = structure_of_row(row.data, row.data["disks"])
    solved = solve_frame(store.runs[uid], 1)
    np.testing.assert_allclose(structure.r, solved.structure.r, rtol=1e-6)
    assert "solved" in repr(solved) and f"{structure.r[0]:10.2f}" in repr(solved)
    assert len(solved.picture().axes) >= 4
    with pytest.raises(ValueError, match="none with index 2"):
        solve_frame(store.runs[uid], 2)


def test_only_unsure_frames_are_solved(run_engine: RunEngine, store: TiledStore, pool: SolverPool) -> None:
    uid = measure(run_engine, store, 2)  # the confidence of its labels is 0.987
    assert solve_run(store.runs[uid], pool, asked="unsure", max_confidence=0.5).summary == {}
    assert solve_run(store.runs[uid], pool, asked="unsure", max_confidence=0.99).summary["solved"] == 2


class _Interrupted(Exception):
    pass


def test_what_was_solved_before_a_stop_is_kept(
    run_engine: RunEngine, store: TiledStore, pool: SolverPool
) -> None:
    uid = measure(run_engine, store, 3)

    def stop_after_one(done: int, total: int) -> None:
        if done == 1:
            raise _Interrupted

    with pytest.raises(_Interrupted):
        solve_run(store.runs[uid], pool, report=stop_after_one)
    summary = balanced(StoredRun(store.runs[uid]))
    assert (summary["solved"], summary["left"]) == (1, 2)
    assert solve_run(store.runs[uid], pool).solved_now == 2


def test_a_stream_that_a_killed_process_left_is_taken_over(
    run_engine: RunEngine, store: TiledStore, pool: SolverPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = measure(run_engine, store, 3)
    monkeypatch.setattr("speckle_plugin.reprocess.solve.FLUSH_INTERVAL", 0.0)

    def killed(*_: Any) -> None:
        raise _Interrupted

    def stop_after_two(done: int, total: int) -> None:
        if done == 2:
            raise _Interrupted

    with monkeypatch.context() as patch, pytest.raises(_Interrupted):
        patch.setattr("speckle_plugin.store.write.run_writer.ResultStreamWriter.publish", killed)
        solve_run(store.runs[uid], pool, report=stop_after_two)
    stored = StoredRun(store.runs[uid])
    assert stored.structure_summary == {} and "structure" in stored.streams
    solution = solve_run(store.runs[uid], pool)
    assert solution.stream == "structure_2" and solution.solved_now < 3
    assert balanced(StoredRun(store.runs[uid]))["solved"] == 3


def test_answers_by_two_settings_are_not_mixed(
    run_engine: RunEngine, store: TiledStore, pool: SolverPool
) -> None:
    uid = measure(run_engine, store, 2)
    solve_run(store.runs[uid], pool)
    other = SolveSettings(smallest_radius=5.0)
    with pytest.raises(CompletionError, match="other settings"):
        solve_run(store.runs[uid], pool, settings=other)
    assert solve_run(store.runs[uid], pool, settings=other, everything=True).solved_now == 2
    assert StoredRun(store.runs[uid]).structures.settings["smallest_radius"] == 5.0


def test_runs_and_frames_are_found_by_it(run_engine: RunEngine, store: TiledStore, pool: SolverPool) -> None:
    uid = measure(run_engine, store, 3, purpose="searches")
    bare = measure(run_engine, store, 1, purpose="searches")
    solve_run(store.runs[uid], pool)

    def runs(**asked: Any) -> set[str]:
        found = find_runs(store.runs, metadata={"purpose": "searches"}, **asked)
        return {run.start["uid"] for run in found.values()}

    summary = StoredRun(store.runs[uid]).structure_summary
    mean, spread = summary["mean_radius"]["mean"], summary["radius_spread"]["mean"]
    assert runs() == {uid, bare}
    assert runs(certificate="solved") == runs(disagrees=True) == {uid}
    assert runs(certificate="undecided") == runs(disagrees=False) == set()
    assert runs(mean_radius=(mean - 1, mean + 1)) == runs(radius_spread=(spread, spread)) == {uid}
    assert runs(mean_radius=(mean + 1, mean + 2)) == set()

    both = [store.runs[uid], store.runs[bare]]
    table = find_frames(both)
    assert table["certificate"].tolist() == ["solved"] * 3 + [""]
    assert table["structure_disk_number"].isna().tolist() == [False] * 3 + [True]
    disagreeing = find_frames(both, disagrees=True)
    assert (disagreeing["structure_disk_number"] == disagreeing["truth_disk_number"]).all()
    assert len(disagreeing) == summary["disagree"] == 3 - len(find_frames(both, disagrees=False))
    radii = table["mean_radius"].iloc[:3].sort_values().tolist()
    middle = find_frames(both, mean_radius=(radii[1], radii[1]))
    assert middle["mean_radius"].tolist() == [radii[1]]
    assert find_frames(store.runs, radius_spread=(1e6, 1e7)).empty
    assert len(find_frames(both, certificate=Opinion.SOLVED, label=7)) == 3

    refused: list[tuple[dict[str, Any], str]] = [
        ({"certificate": "proven"}, "no certificate 'proven'"),
        ({"mean_radius": 3}, "lowest, highest"),
        ({"radius_spread": (2, 1)}, "lowest, highest"),
    ]
    for asked, why in refused:
        with pytest.raises(ValueError, match=why):
            find_runs(store.runs, **asked)
    with pytest.raises(TypeError, match="True or False"):
        find_frames(store.runs, disagrees=1)  # type: ignore[arg-type]


def test_other_labels_other_disagreements(run_engine: RunEngine, store: TiledStore, pool: SolverPool) -> None:
    uid = measure(run_engine, store, 3)
    before = solve_run(store.runs[uid], pool).summary
    assert before["disagree"] == 3 - before["counts"].get("7", 0)
    bundle = Bundle("twos", "1", CLASSES, SETTINGS, {})
    complete_run(store.runs[uid], Classifier(bundle, FakeEngine(2, classes=CLASSES)), everything=True)
    stored = StoredRun(store.runs[uid])
    assert stored.summary["model"] == "twos"
    assert balanced(stored)["disagree"] == 3 - before["counts"].get("2", 0)
