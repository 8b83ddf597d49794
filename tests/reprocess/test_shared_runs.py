"""Several processes at the frames of one run: no frame is done twice, and none is lost with one of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import pytest
from bluesky import RunEngine

from simulated_devices import SpeckleDetector
from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.reprocess import Completion, CompletionError, complete_run, complete_runs
from speckle_plugin.reprocess.parts import PART, SharedRun
from speckle_plugin.reprocess.solve import solve_run
from speckle_plugin.solving import SolverPool
from speckle_plugin.store import RunSaver, TiledStore, find_frames
from speckle_plugin.store.leases import RunLeases
from tests.testing import CLASSES, FakeEngine

FRAMES = 3 * PART + 8


@pytest.fixture
def uid(store: TiledStore, run_engine: RunEngine, make_detector: Callable[..., SpeckleDetector]) -> str:
    """A run without labels, of four parts."""
    det: Any = make_detector(data_directory=store.frames_directory, frames_per_trigger=FRAMES // 4)
    saver = RunSaver(store.runs, store.journal_directory)
    run_engine.subscribe(saver)
    result: Any = run_engine(bp.count([det], 4))
    assert not saver.failures
    return str(result.run_start_uids[0])


class Process:
    """What a worker does of a run, with an engine of its own."""

    def __init__(self, store: TiledStore, uid: str, label: int = 7) -> None:
        self.engine = FakeEngine(label)
        bundle = Bundle("fake", "0", CLASSES, Preprocessing(crop=33), {}, sha256="0" * 64)
        self._classifier = Classifier(bundle, self.engine)
        self._store, self._uid = store, uid

    def work(self) -> Completion:
        leases = RunLeases(self._store.leases_directory)
        with leases.holding(self._uid, shared=True) as lease:
            if lease is None:  # the other one writes the labels
                return Completion(self._uid, None, "", FRAMES, others=True)
            shared = SharedRun(leases, self._uid, lease)
            return complete_run(self._store.runs[self._uid], self._classifier, shared=shared)

    @property
    def frames(self) -> int:
        return sum(self.engine.batches)


def is_whole(store: TiledStore, uid: str) -> bool:
    run = store.runs[uid]
    rows = find_frames(run)
    assert sorted(rows["frame_index"]) == list(range(FRAMES))
    assert run.metadata["stop"]["classification"]["classified"] == FRAMES
    assert [name for name in run.base if "classification" in name] == ["classification"]
    assert run.validate()
    return not list(store.leases_directory.iterdir())


def test_two_share_a_long_run(store: TiledStore, uid: str) -> None:
    processes = [Process(store, uid) for _ in range(2)]
    done: list[Completion] = []

    def work(process: Process) -> None:
        process.engine.may_answer.clear()
        done.append(process.work())
        while done[-1].others and "classification" not in store.runs[uid].metadata["stop"]:
            time.sleep(0.2)
            done.append(process.work())

    threads = [threading.Thread(target=work, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while not all(process.engine.batches for process in processes):
        assert time.monotonic() < deadline, "both are at a part"
        time.sleep(0.02)
    for process in processes:
        process.engine.may_answer.set()
    for thread in threads:
        thread.join(60)
    assert sum(process.frames for process in processes) == FRAMES, "no frame twice"
    assert all(process.frames >= PART for process in processes)
    # Who comes when all is written finds nothing to do.
    wrote = [one.classified for one in done if not one.others and one.classified]
    assert wrote == [FRAMES], "one writes the labels of all"
    assert is_whole(store, uid)


def test_what_a_killed_one_has_done_is_kept(store: TiledStore, uid: str) -> None:
    killed, other = Process(store, uid, 7), Process(store, uid, 9)
    leases = RunLeases(store.leases_directory)
    part = leases.take(f"{uid}.det_image-1")
    assert part is not None
    assert killed.work().others and killed.frames == FRAMES - PART
    assert "classification" not in store.runs[uid].metadata["stop"]
    part.release()  # as the kernel does
    assert other.work().classified == FRAMES and other.frames == PART
    labels = find_frames(store.runs[uid]).sort_values("frame_index")["disk_number"].tolist()
    assert labels == [7] * PART + [9] * PART + [7] * (FRAMES - 2 * PART)
    assert store.runs[uid].metadata["stop"]["classification"]["seconds_per_frame"]["classify"] > 0
    assert is_whole(store, uid)


def test_a_part_that_was_cut_off_is_done_again(store: TiledStore, uid: str) -> None:
    first, second = Process(store, uid), Process(store, uid)
    part = RunLeases(store.leases_directory).take(f"{uid}.det_image-1")
    assert part is not None and first.work().others
    files = sorted(store.leases_directory.glob("*.parts/*/*.npz"))
    assert len(files) == 3
    files[0].write_bytes(files[0].read_bytes()[:100])
    part.release()
    assert second.work().classified == FRAMES and second.frames == 2 * PART
    assert is_whole(store, uid)


def test_parts_by_another_network_are_not_taken(store: TiledStore, uid: str) -> None:
    leases = RunLeases(store.leases_directory)
    with leases.holding(f"{uid}.det_image-0") as part:
        assert part is not None and Process(store, uid).work().others
    bundle = Bundle("other", "0", CLASSES, Preprocessing(crop=33), {}, sha256="1" * 64)
    engine = FakeEngine(9)
    with leases.holding(uid, shared=True) as lease:
        assert lease is not None
        complete_run(store.runs[uid], Classifier(bundle, engine), shared=SharedRun(leases, uid, lease))
    assert sum(engine.batches) == FRAMES and set(find_frames(store.runs[uid])["disk_number"]) == {9}
    assert is_whole(store, uid)


def test_commands_leave_a_run_to_who_has_it(store: TiledStore, uid: str) -> None:
    leases = RunLeases(store.leases_directory)
    run = store.runs[uid]
    engine = FakeEngine()
    bundle = Bundle("fake", "0", CLASSES, Preprocessing(crop=33), {}, sha256="0" * 64)

    def complete() -> Completion:
        (done,) = complete_runs([run], lambda _: Classifier(bundle, engine), leases=leases)
        return done

    with leases.holding(uid, shared=True):
        assert "another process works on the frames of the run" in complete().error
        with SolverPool(1) as pool, pytest.raises(CompletionError, match="another process works"):
            solve_run(run, pool, leases=leases)
    assert not engine.batches
    done = complete()
    assert (done.error, done.classified) == ("", FRAMES)
    assert is_whole(store, uid)


def test_a_shared_lease_becomes_one_alone_only_without_others(tmp_path: Path) -> None:
    leases = RunLeases(tmp_path)
    one, two = leases.take("run", shared=True), leases.take("run", shared=True)
    assert one is not None and two is not None and leases.take("run") is None
    assert not one.take_alone(), "two shares it"
    assert two.take_alone(), "one has lost it"
    assert leases.take("run", shared=True) is None
    one.release()
    assert leases.take("run", shared=True) is None, "it was not one's to give"
    two.release()
    assert not list(tmp_path.iterdir())
