"""Model bundles: one file that holds a network and all that is needed to trust it.

A bundle is a zip archive of `manifest.json` (classes, preprocessing, calibration,
metrics, recipe, versions, parent), `weights.npz` (float16 kernels, float32 vectors) and
`SHA256`, the hash of the two. The architecture is named, not stored: loading a bundle
builds the network from this package's code and never runs anything from the file. The bundle of an imported
network has `network.onnx` in the place of the weights: a graph of ONNX's operations, which is no code either.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.bundle_checks import IMPORTED, check_manifest, check_weights
from speckle_plugin.network.feature_statistics import FeatureStatistics
from speckle_plugin.network.imported import GraphForm
from speckle_plugin.preprocessing import FrameGeometry, Preprocessing, settings_from_dict, view_shape
from speckle_plugin.typed_values import typed_values

if TYPE_CHECKING:
    import keras

__all__ = [
    "Bundle",
    "BundleError",
    "ShippedNetwork",
    "find_bundle",
    "load_bundle",
    "save_bundle",
    "shipped_bundles",
    "shipped_classes",
    "shipped_networks",
    "weights_of",
]

FORMAT = 1
SUFFIX = ".bundle"
DEFAULT_BUNDLE = "quadrant"
STATISTICS = "feature_statistics/"
NOT_IN_MANIFEST = ("weights", "graph", "form", "sha256", "preprocessing", "feature_statistics", "path")
BUNDLE_FOLDER = Path(__file__).parents[1] / "models" / "bundles"
WEIGHTS, GRAPH = "weights.npz", "network.onnx"
LARGEST = {"manifest.json": 64 << 20, WEIGHTS: 1 << 30, GRAPH: 1 << 30, "SHA256": 1 << 10}
"""Bytes of each part, unpacked: ResNet-50 needs 50 MB. A small file may declare to be terabytes."""


class BundleError(ValueError):
    """A bundle is missing, damaged, or not what this version can read."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A trained network with its settings and its history.

    Parameters
    ----------
    name, version : str
        Written into every result, so that results can be searched by model.
    classes : tuple of int
        The disk number of each output of the network; where `class_names` are given, 1, 2, 3 and so on.
    class_names : tuple of str
        The class of each output, where classes are no disk numbers; else empty.
    preprocessing : Preprocessing
        How its inputs are made.
    weights : mapping of str to array
        Path of each variable in the network to its value, float32.
    pitch : float or None
        Wave number per pixel that it was trained on, in inverse units of the box.
    temperature : float
        Divides the logits before the softmax, so that confidences are calibrated.
    feature_statistics : FeatureStatistics or None
        By which frames out of distribution are known; None if it was not fitted.
    metrics, training : mapping
        What was measured on frames it never saw; recipe, seed, curves, versions.
    form : GraphForm or None
        Of an imported network: how frames go in, and what comes out; None for ours.
    graph : bytes
        Of an imported network: its ONNX file; its `weights` are empty.
    parent : str
        SHA-256 of the bundle that it was fine-tuned from, or empty.
    sha256 : str
        Hash of manifest and weights; set by loading and saving.
    path : Path or None
        The file that it was loaded from.
    """

    name: str
    version: str
    classes: tuple[int, ...]
    preprocessing: Preprocessing
    weights: Mapping[str, NDArray[np.float32]] = field(repr=False)
    pitch: float | None = None
    temperature: float = 1.0
    feature_statistics: FeatureStatistics | None = field(default=None, repr=False)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict, repr=False)
    parent: str = ""
    architecture: str = "resnet50"
    class_names: tuple[str, ...] = ()
    form: GraphForm | None = None
    graph: bytes = field(default=b"", repr=False)
    sha256: str = ""
    path: Path | None = None

    def build_network(self) -> keras.Model:
        """Build the Keras network with this bundle's weights; it returns logits.

        Raises
        ------
        BundleError
            If the weights do not fit the architecture, or the network was imported.
        """
        if self.form is not None:
            raise BundleError(
                f"the network {self.name!r} was imported as an ONNX graph, and has no Keras layers: it "
                "labels frames, but can't be trained on or explained"
            )
        from speckle_plugin.network.resnet import build_resnet50

        try:
            check_weights(self.architecture, self.weights, self.classes)
        except ValueError as error:
            raise BundleError(f"bundle {self.name!r}: {error}") from error
        model = build_resnet50(len(self.classes), self.architecture)
        for variable in model.weights:
            variable.assign(self.weights[variable.path])
        return model

    def check_geometry(self, geometry: FrameGeometry) -> None:
        """See that frames of a geometry can be classified.

        Raises
        ------
        ValueError
            If too little is left of them, or the network does not take what becomes of them.
        """
        _, rows, columns = view_shape(self.preprocessing, geometry)
        if self.form is not None and (misfit := self.form.misfit(rows, columns)):
            raise ValueError(misfit)


def weights_of(model: keras.Model) -> dict[str, NDArray[np.float32]]:
    """Take the weights out of a Keras network, by path."""
    return {v.path: np.asarray(v, dtype=np.float32) for v in model.weights}


def save_bundle(bundle: Bundle, path: Path | str) -> Bundle:
    """Write a bundle, and return it as it will be loaded: weights rounded, hash set.

    Raises
    ------
    BundleError
        If a weight is not finite in float16.
    """
    arrays = {}
    for name, value in bundle.weights.items():
        # Vectors (biases, batch statistics) are few and need their range: they stay float32.
        with np.errstate(over="ignore"):
            arrays[name] = value.astype(np.float16 if value.ndim > 1 else np.float32)
        if not np.isfinite(arrays[name]).all():
            raise BundleError(f"weights {name} are not finite in {arrays[name].dtype}: the training diverged")
    if bundle.feature_statistics:
        for name, value in vars(bundle.feature_statistics).items():
            arrays[f"{STATISTICS}{name}"] = np.asarray(value, np.float32)
        arrays[f"{STATISTICS}components"] = arrays[f"{STATISTICS}components"].astype(np.float16)
    buffer = io.BytesIO()
    if bundle.form is None:
        np.savez(buffer, allow_pickle=False, **arrays)
    else:
        buffer.write(bundle.graph)
    manifest = {k: v for k, v in vars(bundle).items() if k not in NOT_IN_MANIFEST}
    if not bundle.class_names:
        del manifest["class_names"]  # earlier versions do not know it
    if bundle.form is not None:
        manifest["form"] = asdict(bundle.form)
    manifest |= {"format": FORMAT, "preprocessing": asdict(bundle.preprocessing)}
    text = json.dumps(manifest, indent=2, sort_keys=True).encode()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with zipfile.ZipFile(partial, "w") as archive:
        archive.writestr("manifest.json", text)
        archive.writestr(WEIGHTS if bundle.form is None else GRAPH, buffer.getvalue())
        archive.writestr("SHA256", hash_contents(text, buffer.getvalue()))
    partial.replace(path)
    return load_bundle(path)


def load_bundle(path: Path | str) -> Bundle:
    """Read a bundle and check its hash.

    Raises
    ------
    BundleError
        If the file is missing, truncated, of another format, its hash is wrong, or it makes no sense:
        no classes, values that can't be, a layer that is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise BundleError(
            f"no bundle at {path}: give the path of a {SUFFIX} file, or the name of a shipped bundle "
            f"({', '.join(shipped_bundles()) or 'none is shipped'})"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            part = GRAPH if GRAPH in archive.namelist() else WEIGHTS
            text, packed, digest = (_read_part(archive, name) for name in ("manifest.json", part, "SHA256"))
            expected = digest.decode()
    except (
        zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, RuntimeError, UnicodeDecodeError
    ) as error:  # fmt: skip
        raise BundleError(
            f"{path} is not a whole bundle ({error}): it may be truncated; copy or train it again"
        ) from error
    actual = hash_contents(text, packed)
    if actual != expected:
        raise BundleError(
            f"{path} has the SHA-256 {actual[:12]}..., but says {expected[:12]}...: "
            "it was changed or damaged; copy or train it again"
        )
    try:
        manifest = json.loads(text)
        if manifest.pop("format", None) != FORMAT:
            raise ValueError(f"it is of another format than {FORMAT}: use the version that wrote it")
        check_manifest(manifest)
        manifest["preprocessing"] = settings_from_dict(manifest["preprocessing"])
        manifest["classes"] = tuple(manifest["classes"])
        manifest["class_names"] = tuple(manifest.get("class_names", ()))
        if (manifest.get("architecture") == IMPORTED) != (part == GRAPH):
            raise ValueError(f"its architecture is {manifest.get('architecture')!r}, and it holds {part}")
        if part == GRAPH:
            manifest["form"] = typed_values(GraphForm, manifest["form"])
            return Bundle(weights={}, graph=packed, sha256=actual, path=path, **manifest)
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            _check_sizes(arrays.zip)
            weights = {name: arrays[name].astype(np.float32) for name in arrays.files}
        parts = {name: weights.pop(name) for name in list(weights) if name.startswith(STATISTICS)}
        statistics = _statistics(parts) if parts else None
        check_weights(manifest.get("architecture", "resnet50"), weights, manifest["classes"])
        return Bundle(weights=weights, feature_statistics=statistics, sha256=actual, path=path, **manifest)
    except (
        AttributeError, KeyError, TypeError, ValueError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error
    ) as error:  # fmt: skip
        raise BundleError(f"the bundle {path} can't be read ({error})") from error


def _read_part(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a part, which is never unpacked beyond the size that it declares."""
    size = archive.getinfo(name).file_size
    if size > LARGEST[name]:
        raise zipfile.BadZipFile(f"its {name} would take {size} bytes; at most {LARGEST[name]} are read")
    return archive.read(name)


def _check_sizes(archive: zipfile.ZipFile) -> None:
    """See that unpacked arrays take no more memory than weights may.

    Raises
    ------
    ValueError
        If they do, or if one declares to be larger than it is.
    """
    total = sum(member.file_size for member in archive.infolist())
    if total > LARGEST[WEIGHTS]:
        raise ValueError(f"its weights would take {total} bytes; at most {LARGEST['weights.npz']} are read")
    for member in archive.infolist():
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            shape, _, dtype = read_header[version](file)
        if math.prod(shape) * dtype.itemsize > member.file_size:
            raise ValueError(f"{member.filename} declares the shape {shape}, which it is too small for")


def _statistics(parts: Mapping[str, NDArray[np.float32]]) -> FeatureStatistics:
    values = {name.removeprefix(STATISTICS): value for name, value in parts.items()}
    numbers = {name: float(value) for name, value in values.items() if value.ndim == 0}
    return FeatureStatistics(**{**values, **numbers})  # type: ignore[arg-type]


def shipped_bundles() -> Sequence[str]:
    """Names of the bundles that come with the package."""
    return sorted(p.stem for p in BUNDLE_FOLDER.glob(f"*{SUFFIX}"))


class ShippedNetwork(NamedTuple):
    """What the manifest of a bundle of the package says of it, without its weights."""

    name: str
    classes: tuple[int, ...]
    k_step: float | None
    sha256: str


def shipped_networks() -> tuple[ShippedNetwork, ...]:
    """Give what the manifests of the package's bundles say; it is read once."""
    return _networks_in(BUNDLE_FOLDER)


@functools.cache
def _networks_in(folder: Path) -> tuple[ShippedNetwork, ...]:
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(_read_part(archive, "manifest.json"))
            digest = _read_part(archive, "SHA256").decode()
        found.append(ShippedNetwork(path.stem, tuple(manifest["classes"]), manifest.get("pitch"), digest))
    return tuple(found)


def shipped_classes() -> frozenset[int]:
    """Disk numbers that the bundles of the package name."""
    return frozenset(number for network in shipped_networks() for number in network.classes)


def find_bundle(name_or_path: str | Path | None = None) -> Bundle:
    """Load a shipped bundle by its name, or any bundle by its path; the default one for None."""
    wanted = DEFAULT_BUNDLE if name_or_path is None else str(name_or_path)
    if wanted in shipped_bundles():
        return load_bundle(BUNDLE_FOLDER / f"{wanted}{SUFFIX}")
    return load_bundle(wanted)


def hash_contents(manifest: bytes, weights: bytes) -> str:
    """Give the SHA-256 of a bundle's two files, in hexadecimal; each is preceded by its length."""
    digest = hashlib.sha256()
    for part in (manifest, weights):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()
