"""Anybody's classifier as a bundle: read an ONNX or Keras file, find out its form, and see that it works.

A Keras network is converted to ONNX by tf2onnx, in a process of its own, so that one file format is kept and
TensorFlow is not needed where it runs. What does not fit is one clear error.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.extras import MissingExtraError, extra_needed
from speckle_plugin.network.bundle import Bundle, BundleError
from speckle_plugin.network.bundle_checks import IMPORTED
from speckle_plugin.network.imported import GraphForm
from speckle_plugin.preprocessing import Preprocessing, RawCrop

if TYPE_CHECKING:
    import onnx

__all__ = ["check_class_names", "import_network", "read_graph"]

NAMED = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,62}")
"""What the name of a class may be: searches have no other, and a number would be a disk number."""

TRIED_SIZE = 160
"""Rows and columns of the input on which a network of any size is tried."""

CONVERTING = 600.0
"""Seconds that a conversion may take."""

TO_SAVED_MODEL = """
import sys, keras
model = keras.saving.load_model(sys.argv[1], compile=False, safe_mode=True)
model.export(sys.argv[2], verbose=False)
"""


def check_class_names(names: Sequence[str]) -> None:
    """See that classes can have these names.

    Raises
    ------
    ValueError
        If they cannot.
    """
    for name in names:
        if not NAMED.fullmatch(name):
            raise ValueError(
                f"{name!r} can't be the name of a class: expected a letter, then letters, digits, _, - or "
                "spaces; or give disk numbers, such as 2-20"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"the classes {', '.join(names)} are not all different")


def import_network(
    path: Path,
    name: str,
    classes: Sequence[int] | Sequence[str],
    preprocessing: Preprocessing | Literal["none", "log", "standardize"],
    *,
    k_step: float | None = None,
    version: str = "1",
    licence: str = "",
    source: str = "",
) -> Bundle:
    """Make a bundle of a classifier from a file of ONNX or Keras.

    Parameters
    ----------
    path : Path
        An .onnx or .keras file, or the folder of a TensorFlow SavedModel.
    name, version : str
        Of the bundle.
    classes : sequence of int or of str
        The class of each output: disk numbers, or names.
    preprocessing : Preprocessing or {"none", "log", "standardize"}
        How its inputs are made: by settings of ours, or the raw crop of its input size, scaled so.
    k_step : float, optional
        Wave number per pixel that it is for.
    licence, source : str
        Whose it is, and where it is from; they stand in the bundle.

    Raises
    ------
    BundleError
        If the file is none of these, or no classifier of these classes.
    MissingExtraError
        If the packages for it are not installed.
    """
    if not name or "/" in name:
        raise ValueError(f"the name of a network can't be {name!r}")
    if len(classes) < 2:
        raise ValueError("a classifier has at least two classes")
    names = tuple(value for value in classes if isinstance(value, str))
    numbers = tuple(int(value) for value in classes if not isinstance(value, str))
    if names and numbers:
        raise ValueError("classes are all disk numbers, or all names")
    check_class_names(names)
    if len(set(numbers)) < len(numbers) or any(number < 1 for number in numbers):
        raise ValueError("disk numbers must be 1 or more, and all different: 0 stands for no label")
    graph = read_graph(path)
    form = _examine(path, graph, len(classes))
    if isinstance(preprocessing, str):
        preprocessing = RawCrop(scaling=preprocessing, rows=form.rows, columns=form.columns)
    return Bundle(
        name=name,
        version=version,
        classes=numbers or tuple(range(1, len(names) + 1)),
        class_names=names,
        preprocessing=preprocessing,
        weights={},
        pitch=k_step,
        architecture=IMPORTED,
        form=form,
        graph=graph,
        training={
            "imported_from": path.name,
            "file_sha256": _hash(path),
            "source": source or "not stated",
            "licence": licence or "not stated",
            "date": datetime.now(UTC).date().isoformat(),
        },
    )


def read_graph(path: Path) -> bytes:
    """Read a file as ONNX; Keras files and SavedModels are converted.

    Raises
    ------
    BundleError
        If it can't be read or converted.
    """
    if not path.exists():
        raise BundleError(f"there is no file {path}: give an .onnx or .keras file, or a SavedModel's folder")
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise BundleError(f"the folder {path} is no SavedModel: it has no saved_model.pb")
        return _converted(path, path)
    if path.suffix == ".onnx":
        return path.read_bytes()
    if path.suffix not in (".keras", ".h5"):
        raise BundleError(
            f"{path} can't be imported: expected an .onnx or .keras file, or the folder of a SavedModel"
        )
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "saved"
        _run(path, [sys.executable, "-c", TO_SAVED_MODEL, str(path), str(saved)])
        return _converted(path, saved)


def _converted(path: Path, saved: Path) -> bytes:
    """Convert a SavedModel."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "network.onnx"
        command = ["-m", "tf2onnx.convert", "--saved-model", str(saved), "--output", str(target)]
        _run(path, [sys.executable, *command, "--opset", "17"])
        return target.read_bytes()


def _run(path: Path, command: list[str]) -> None:
    """Run a step of the conversion, and tell its last line where it fails."""
    for package, extra in (("tf2onnx", "onnx"), ("tensorflow", "train")):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f'to import {path.suffix or "a SavedModel"}, pip install "speckle-plugin[{extra}]"'
            )
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=CONVERTING, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(
            f"{path} was not converted to ONNX in {CONVERTING:g} s: convert it by hand"
        ) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and "WARNING" not in line]
        raise BundleError(f"{path} can't be converted to ONNX: {lines[-1].strip() if lines else 'no reason'}")


def _examine(path: Path, graph: bytes, class_count: int) -> GraphForm:
    """Find out the form of a graph, and see that it classifies."""
    with extra_needed():
        import onnx
    try:
        model = onnx.load_model_from_string(graph)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and the checker's own
        reason = " ".join(str(error).split())[:200]
        raise BundleError(f"{path} is no whole ONNX file ({reason})") from error
    constants = {tensor.name for tensor in model.graph.initializer}
    _check_weights(path, model)
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise BundleError(
            f"{path} takes {len(inputs)} inputs ({', '.join(v.name for v in inputs)}): expected one, frames"
        )
    form = _form_of(path, inputs[0])
    return _try(path, graph, form, class_count)


def _check_weights(path: Path, model: onnx.ModelProto) -> None:
    import onnx

    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise BundleError(f"{path} keeps its weights in another file: save it with the weights inside")
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise BundleError(f"the weights {tensor.name!r} of {path} are not finite: the training diverged")


def _form_of(path: Path, value: onnx.ValueInfoProto) -> GraphForm:
    """Read the form of the input; that of the output is not known yet."""
    import onnx

    kind = value.type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        raise BundleError(f"the input {value.name!r} of {path} is not float32")
    shape = [size.dim_value or None for size in kind.shape.dim]
    told = " x ".join(str(size or "any") for size in shape)
    batch, *rest = shape or [None]
    if len(rest) == 2:
        return GraphForm("NHW", 1, rest[0], rest[1], batch, value.name, "", "logits")
    if len(rest) == 3 and rest[2] in (1, 3):
        return GraphForm("NHWC", rest[2], rest[0], rest[1], batch, value.name, "", "logits")
    if len(rest) == 3 and rest[0] in (1, 3):
        return GraphForm("NCHW", rest[0], rest[1], rest[2], batch, value.name, "", "logits")
    raise BundleError(
        f"the input {value.name!r} of {path} has the shape {told}: expected images, that is frames x rows x "
        "columns, with 1 or 3 channels as the second or the last dimension"
    )


def _try(path: Path, graph: bytes, form: GraphForm, class_count: int) -> GraphForm:
    """Run a graph on noise, choose the output that has a number for each class, and see what it gives."""
    import openvino as ov

    size = form.rows or TRIED_SIZE, form.columns or TRIED_SIZE
    count = form.batch or 2
    shape = {
        "NHW": (count, *size),
        "NHWC": (count, *size, form.channels),
        "NCHW": (count, form.channels, *size),
    }[form.layout]
    noise = np.random.default_rng(0).exponential(1.0, shape).astype(np.float32)
    try:
        compiled = ov.Core().compile_model(ov.Core().read_model(graph), "CPU")
        found: dict[str, NDArray[Any]] = {port.any_name: values for port, values in compiled([noise]).items()}
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise BundleError(f"{path} can't be run by OpenVINO on inputs {shape}: {reason}") from error
    fitting = {name: values for name, values in found.items() if values.shape == (count, class_count)}
    if not fitting:
        shapes = ", ".join(f"{name} {values.shape}" for name, values in found.items())
        raise BundleError(
            f"{path} is no classifier of {class_count} classes: for {count} frames it gives {shapes}, and "
            f"expected is ({count}, {class_count}), a number for each class"
        )
    name, values = next(iter(fitting.items()))
    if not np.isfinite(values).all():
        raise BundleError(f"{path} gives values that are not finite for frames of noise")
    sums_to_one = values.min() >= 0 and np.allclose(values.sum(axis=1), 1.0, atol=1e-3)
    return replace(form, output=name, gives="probabilities" if sums_to_one else "logits")


def _hash(path: Path) -> str:
    """Give the SHA-256 of a file, or of the files of a folder in their order by name."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()
