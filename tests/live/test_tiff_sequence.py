"""TIFF files behind a StreamResource, as ophyd-async writes them: labelled, stored, and read again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import event_model
import numpy as np
import pytest
import tifffile

from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.live import LiveClassifier
from speckle_plugin.reprocess.complete import complete_run
from speckle_plugin.store import RunSaver, TiledStore, find_frames

FRAMES = np.random.default_rng(1).poisson(60, (4, 40, 50)).astype(np.uint16)


@pytest.mark.parametrize("shape", [[1, 40, 50], [2, 40, 50]], ids=["a frame a point", "two frames a point"])
def test_a_sequence(store: TiledStore, make_live: Callable[..., LiveClassifier], shape: list[int]) -> None:
    live = make_live(FrameSettings(beam_center=(0.0, 0.0)))
    saver = RunSaver(store.runs, store.journal_directory)
    live.subscribe(saver, saves=True)
    send: Callable[[str, Any], None] = live
    folder = store.frames_directory / f"sequence-{shape[0]}"
    folder.mkdir()
    for number, frame in enumerate(FRAMES):
        tifffile.imwrite(folder / f"scan_{number:06d}.tif", frame)
    run = event_model.compose_run()
    send("start", run.start_doc)
    data_key = {
        "source": "test",
        "dtype": "array",
        "dtype_numpy": "<u2",
        "shape": shape,
        "external": "STREAM:",
    }
    owner = {"det": ["det"]}
    described = run.compose_descriptor(
        name="primary", data_keys={"det": data_key}, hints={}, configuration={}, object_keys=owner
    )
    send("descriptor", described.descriptor_doc)
    resource, compose_datum = event_model.compose_stream_resource(
        start=run.start_doc,
        mimetype="multipart/related;type=image/tiff",
        uri=f"file://localhost{folder}/",
        data_key="det",
        parameters={"template": "scan_{:06d}.tif", "chunk_shape": (1, 40, 50), "join_method": "stack"},
    )
    send("stream_resource", resource)
    points = len(FRAMES) // shape[0]
    datum = compose_datum(
        indices={"start": 0, "stop": points},
        seq_nums={"start": 1, "stop": points + 1},
        descriptor=described.descriptor_doc,
    )
    send("stream_datum", datum)
    send("stop", run.compose_stop())
    saver.close()
    assert not saver.failures
    stored = store.runs[run.start_doc["uid"]]
    table = find_frames(stored, with_frames=True)
    assert list(table["primary_seq_num"]) == [1 + i // shape[0] for i in range(len(FRAMES))]
    assert set(table["status"]) == {"classified"}
    np.testing.assert_array_equal(np.stack(table["frame"].to_list()), FRAMES)
    assert complete_run(stored, live.classifier, everything=True).classified == len(FRAMES)
