"""Anybody's classifier as a bundle: in memory, in a live run, found again by the names of its classes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky import plans as bp
from numpy.typing import NDArray

from simulated_devices import SpeckleDetector, draw_system, grid_by_name, intensity
from speckle_plugin.live import LiveClassifier
from speckle_plugin.network import BundleError, find_bundle, load_bundle, save_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.importing import import_network
from speckle_plugin.network.onnx_export import onnx_bytes
from speckle_plugin.preprocessing import FrameGeometry, RawCrop, prepare
from speckle_plugin.reprocess import complete_run
from speckle_plugin.store import RunSaver, TiledStore, find_frames, find_runs
from tests.testing.networks import write_network

NAMES = ("dim", "bright", "brightest")
GEOMETRY = FrameGeometry((65, 65))


def _frames(*means: float) -> list[NDArray[np.float32]]:
    return [np.random.default_rng(0).exponential(mean, (65, 65)).astype(np.float32) for mean in means]


@pytest.mark.parametrize("softmax", [True, False], ids=["probabilities", "logits"])
@pytest.mark.parametrize(
    "shape",
    [("N", 32, 32, 1), ("N", 3, 32, 32), ("N", "rows", "columns"), (1, 32, 32, 3), (2, 1, 32, 32)],
    ids=str,
)
def test_any_form_of_input_gives_the_same_labels(
    tmp_path: Path, shape: tuple[int | str, ...], softmax: bool
) -> None:
    path = write_network(tmp_path / "net.onnx", shape, softmax=softmax)
    bundle = save_bundle(import_network(path, "brightness", NAMES, "none"), tmp_path / "b.bundle")
    assert load_bundle(tmp_path / "b.bundle").form == bundle.form
    assert bundle.form is not None and bundle.form.gives == ("probabilities" if softmax else "logits")
    frames = _frames(1.0, 4.0, 9.0)
    found = [Classifier(bundle, engine).classify(frames, GEOMETRY) for engine in ("openvino", "onnxruntime")]
    for posterior in found:
        assert posterior.disk_number.tolist() == [1, 2, 3]
    np.testing.assert_allclose(found[0].probabilities, found[1].probabilities, atol=1e-5)
    means = np.array(
        [frame[: bundle.form.rows or 65, : bundle.form.columns or 65].mean() for frame in frames]
    )
    logits = means[:, None] * [0, 1, 2] + [0, -2, -8]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found[0].probabilities, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("center", "first"), [((0, 0), (0, 0)), ((32, 40), (16, 24)), ((64, 64), (33, 33)), ((20.4, 3), (4, 0))]
)
def test_the_raw_crop_is_around_the_beam_as_far_as_the_frame_reaches(
    center: tuple[float, float], first: tuple[int, int]
) -> None:
    frame = np.arange(65 * 65, dtype=np.uint16).reshape(65, 65)
    mask = np.zeros((65, 65), bool)
    mask[first[0] + 1, first[1] + 2] = True
    geometry = FrameGeometry((65, 65), center, mask)
    ((view,),) = prepare(frame, RawCrop(rows=32, columns=32), geometry)
    expected = frame[first[0] : first[0] + 32, first[1] : first[1] + 32].astype(float)
    expected[1, 2] = 0.0
    np.testing.assert_array_equal(view, expected)


def test_scalings_of_the_raw_crop() -> None:
    frame = np.random.default_rng(0).exponential(5.0, (40, 40)) - 1.0
    ((log,),) = prepare(frame, RawCrop(scaling="log"), FrameGeometry((40, 40)))
    np.testing.assert_allclose(log, np.log1p(np.maximum(frame, 0)), rtol=1e-6)
    ((standard,),) = prepare(frame, RawCrop(scaling="standardize"), FrameGeometry((40, 40)))
    np.testing.assert_allclose(standard, (frame - frame.mean()) / frame.std(), atol=1e-5)
    with pytest.raises(ValueError, match="sees 64 x 64 pixels, and the frames have 40 x 40"):
        prepare(frame, RawCrop(rows=64, columns=64), FrameGeometry((40, 40)))


def _damaged(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:100])
    return path


@pytest.mark.parametrize(
    ("make", "classes", "message"),
    [
        (lambda p: write_network(p), ("a", "b"), r"no classifier of 2 classes: for 2 frames it gives prob"),
        (lambda p: write_network(p, weight=np.nan), NAMES, "the weights 'slopes' of .* are not finite"),
        (
            lambda p: write_network(p, ("N", 32, 32, 7)),
            NAMES,
            "has the shape any x 32 x 32 x 7: expected images",
        ),
        (lambda p: write_network(p, ("N", 5)), NAMES, "has the shape any x 5: expected images"),
        (lambda p: _damaged(write_network(p)), NAMES, "is no whole ONNX file"),
        (lambda p: p, NAMES, "there is no file"),
        (lambda p: p.parent, NAMES, "is no SavedModel"),
        (lambda p: write_network(p), ("a", "a", "b"), "not all different"),
        (lambda p: write_network(p), ("a", "b.c", "d"), "'b.c' can't be the name of a class"),
        (lambda p: write_network(p), (0, 1, 2), "0 stands for no label"),
    ],
)
def test_what_is_no_classifier_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], classes: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        import_network(make(tmp_path / "net.onnx"), "net", classes, "none")


def test_it_labels_a_run_and_is_found_by_names(
    tmp_path: Path,
    run_engine: RunEngine,
    store: TiledStore,
    make_detector: Callable[..., SpeckleDetector],
) -> None:
    """Live, in storage, and when the run is classified again."""
    path = write_network(tmp_path / "net.onnx")
    bundle = save_bundle(import_network(path, "brightness", NAMES, "none"), tmp_path / "b.bundle")
    live = LiveClassifier(Classifier(bundle))
    saver = RunSaver(store.runs, store.journal_directory)
    live.subscribe(saver, saves=True)
    token = run_engine.subscribe(live)
    result: Any = run_engine(bp.count([make_detector(data_directory=store.frames_directory)], 3))
    run_engine.unsubscribe(token)
    live.close()
    saver.close()
    run = store.runs[result.run_start_uids[0]]
    summary = run.metadata["stop"]["classification"]
    assert summary["class_names"] == list(NAMES) and summary["classified"] == 3
    (label,) = summary["labels"]
    assert label in NAMES and summary["counts"] == {label: 3}
    assert run.start["uid"] in find_runs(store.runs, label=label)
    number = NAMES.index(label) + 1
    assert set(find_frames(store.runs, label=label)["class_name"]) == {label}
    assert set(find_frames(run, label=label)["disk_number"]) == {number}
    # The number of a class is no disk number: 2 and 3 are.
    assert run.start["uid"] not in find_runs(store.runs, label=max(number, 2))
    assert find_frames(run, label=max(number, 2)).empty
    with pytest.raises(ValueError, match="no network gives the label 'round'"):
        find_runs(store.runs, label="round")
    done = complete_run(run, Classifier(bundle, "onnxruntime"), everything=True)
    assert (done.classified, done.stream) == (3, "classification_2")
    assert set(find_frames(run)["class_name"]) == {label}


@pytest.mark.parametrize("name", ["quadrant", "published"])
def test_an_exported_network_gives_the_same(tmp_path: Path, name: str) -> None:
    """The shipped networks by onnxruntime, and read again by OpenVINO, on seeded frames."""
    bundle = find_bundle(name)
    grid = grid_by_name(name, 257)
    rng = np.random.default_rng(18)
    frames = [intensity(draw_system("constant_radius", n, rng), grid) for n in (2, 5, 9, 13, 17, 20)]
    geometry = FrameGeometry(grid.shape, grid.beam_center)
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_bytes(bundle))
    again = import_network(path, "again", bundle.classes, bundle.preprocessing, k_step=bundle.pitch)
    assert again.form is not None and (again.form.layout, again.form.rows) == ("NCHW", None)
    ours = Classifier(bundle, "openvino")
    inputs = ours.prepare(frames, geometry)
    expected = ours.infer(inputs)
    exact = ours.engine.precision == "float32"
    for classifier in (Classifier(bundle, "onnxruntime"), Classifier(again, "openvino")):
        found = classifier.infer(inputs)
        if classifier.bundle is again:  # it gives calibrated probabilities of each view
            assert again.form.gives == "probabilities"
        np.testing.assert_array_equal(found.disk_number, expected.disk_number)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4 if exact else 0.1)


def test_other_uses_of_an_imported_network_are_refused(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    bundle = import_network(path, "brightness", NAMES, "none")
    with pytest.raises(BundleError, match="was imported as an ONNX graph, and has no Keras layers"):
        bundle.build_network()
    with pytest.raises(ValueError, match="runs on openvino or onnxruntime, not on TensorFlow"):
        Classifier(bundle, "tensorflow")
    wide = import_network(path, "brightness", NAMES, find_bundle().preprocessing)
    with pytest.raises(ValueError, match="takes inputs of 32 x 32 pixels, and its preprocessing makes"):
        wide.check_geometry(FrameGeometry((257, 257)))


KERAS = """
import keras, sys
keras.utils.set_random_seed(1)
model = keras.Sequential([
    keras.Input((32, 32, 1)), keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.BatchNormalization(),
    keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")])
model.save(sys.argv[1] + "/net.keras")
model.export(sys.argv[1] + "/saved", verbose=False)
import numpy as np
np.save(sys.argv[1] + "/answer.npy", model.predict(np.load(sys.argv[1] + "/input.npy"), verbose=0))
"""


@pytest.mark.slow
def test_networks_of_keras(tmp_path: Path) -> None:
    """In processes of their own: with TensorFlow in this one, Tiled's logging would break pytest's."""
    inputs = np.random.default_rng(0).exponential(1.0, (4, 32, 32, 1)).astype(np.float32)
    np.save(tmp_path / "input.npy", inputs)
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", KERAS, str(tmp_path)], check=True, timeout=300, env=environment)
    answer = np.load(tmp_path / "answer.npy")
    for source in ("net.keras", "saved"):
        bundle = import_network(tmp_path / source, "net", NAMES, "none")
        found = Classifier(bundle).infer(inputs[:, None, :, :, 0]).probabilities
        np.testing.assert_allclose(found, answer, atol=1e-5)
    (tmp_path / "bad.keras").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"bad.keras can't be converted to ONNX"):
        import_network(tmp_path / "bad.keras", "net", NAMES, "none")
