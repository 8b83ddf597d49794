"""Another network or another mask for the next runs, and frames shown to a watcher."""

from __future__ import annotations

import logging
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine

from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import Preprocessing
from tests.testing.engine import CLASSES, FakeEngine


def other_classifier(label: int = 3) -> Classifier:
    return Classifier(Bundle("other", "1", CLASSES, Preprocessing(crop=33), {}), FakeEngine(label))


def models(documents: Any) -> list[str]:
    return [
        descriptor["configuration"]["classifier"]["data"]["model"]
        for descriptor in documents.of("descriptor")
        if descriptor["name"] == "classification"
    ]


def test_the_next_run_has_the_other_network(run_engine, make_live, make_detector, documents) -> None:
    live, det = make_live(), make_detector()
    run_engine.subscribe(live)
    run_engine(bp.count([det], 2))
    live.change(other_classifier())
    run_engine(bp.count([det], 2))
    assert models(documents) == ["fake", "other"]
    assert [row["disk_number"] for row in documents.rows()] == [7, 7, 3, 3]


def test_a_run_that_is_open_keeps_its_network(run_engine, make_live, make_detector, documents) -> None:
    """Also where frames of two runs with different networks wait together."""
    live, one, two = make_live(), make_detector("one"), make_detector("two")
    run_engine.subscribe(live)

    @bpp.set_run_key_decorator("second")
    @bpp.run_decorator()
    def inner():
        for _ in range(3):
            yield from bps.trigger_and_read([two])

    @bpp.stage_decorator([one, two])
    @bpp.set_run_key_decorator("first")
    @bpp.run_decorator()
    def outer():
        yield from bps.trigger_and_read([one])
        live.change(other_classifier())
        yield from bps.trigger_and_read([one])
        yield from inner()
        yield from bps.trigger_and_read([one])

    run_engine(outer())
    found = {(row["image_key"], row["disk_number"]) for row in documents.rows()}
    assert found == {("one_image", 7), ("two_image", 3)}
    assert sorted(models(documents)) == ["fake", "other"]
    assert [counts["classified"] for counts in documents.frame_counts()] == [3, 3]


def test_the_next_run_has_the_other_mask(run_engine, make_live, make_detector, documents) -> None:
    live, det = make_live(), make_detector()
    run_engine.subscribe(live)
    run_engine(bp.count([det]))
    mask = np.zeros((65, 65), bool)
    mask[:3, :3] = True
    live.change(frames=FrameSettings(masks={"det_image": mask}))
    assert live.frames.masks is not None
    run_engine(bp.count([det]))
    told = [
        d["configuration"]["classifier"]["data"]["masks"]
        for d in documents.of("descriptor")
        if d["name"] == "classification"
    ]
    assert told[0] == [] and told[1][0].startswith("det_image ")


def test_a_watcher_sees_frames_with_their_results(run_engine, make_live, make_detector, documents) -> None:
    live, det = make_live(), make_detector()
    seen: list[tuple[str, int, tuple[int, ...], int]] = []
    live.watch(
        lambda uid, reference, frame, result: seen.append(
            (uid, reference.frame_index, frame.shape, result.disk_number)
        )
    )
    run_engine.subscribe(live)
    run_engine(bp.count([det], 3))
    uid = documents.of("start")[0]["uid"]
    assert seen and seen[-1] == (uid, 2, (65, 65), 7)
    assert live.backlog() == (0, 0.0)


def test_a_watcher_that_fails_is_dropped(
    run_engine: RunEngine, make_live, make_detector, documents, caplog: pytest.LogCaptureFixture
) -> None:
    live, det = make_live(), make_detector()

    def fail(*_: Any) -> None:
        raise RuntimeError("no screen")

    live.watch(fail)
    run_engine.subscribe(live)
    run_engine(bp.count([det], 4))
    assert documents.frame_counts()[0]["classified"] == 4
    told = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(told) == 1 and "is shown no more; the scan goes on" in told[0].getMessage()
