"""Trust files: what was fitted beside a bundle, of which it needs no new weights.

A trust file is an .npz of plain arrays and a manifest: for which bundle it is (by SHA-256) and how it was
made. It holds :class:`~speckle_plugin.network.trust.oddness.Oddness` for each range of k that frames may
have, :class:`~speckle_plugin.network.trust.head.Head` where one was fitted, and
:class:`~speckle_plugin.network.trust.calibration.Calibration` where confidences were fitted. Those of shipped
bundles are in `speckle_plugin/models/trust`; one beside another bundle has its name and the suffix
`.trust.npz`.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.bundle import Bundle, BundleError
from speckle_plugin.network.feature_statistics import FeatureStatistics
from speckle_plugin.network.trust.calibration import Calibration, brief_size
from speckle_plugin.network.trust.head import Head, steps_of
from speckle_plugin.network.trust.oddness import Oddness
from speckle_plugin.network.trust.spots import SPOTS, SpotMaps
from speckle_plugin.network.trust.statistics import STATISTICS
from speckle_plugin.schema import Flag

__all__ = ["SUFFIX", "Trust", "find_trust", "load_trust", "save_trust", "trust_path"]

FORMAT = 4
READABLE = (1, 3, FORMAT)
"""With 3 came heads, with 4 confidences that are told of masks, and weights of heads by families: older
versions must not read them."""

SUFFIX = ".trust.npz"
TRUST_FOLDER = Path(__file__).parents[2] / "models" / "trust"
LARGEST = 1 << 22
"""Bytes that are read at most: a shipped file has less than 480 kB."""


@dataclass(frozen=True, eq=False)
class Trust:
    """What was fitted beside a bundle.

    Parameters
    ----------
    bundle_sha256 : str
        Of the bundle.
    oddness : mapping of int to Oddness
        By the rows of the quadrants that were looked at.
    made : mapping
        Command, seed, frames, versions, date.
    calibration : mapping of int to Calibration
        By the rows of the head that is heard, or else by those above; none in files of before it was fitted.
    heads : mapping of int to Head
        By the rows of the quadrants whose spots are counted; none where the network speaks alone.
    sha256 : str
        Of the file that it was read from.
    """

    bundle_sha256: str
    oddness: Mapping[int, Oddness]
    made: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[int, Calibration] = field(default_factory=dict)
    heads: Mapping[int, Head] = field(default_factory=dict)
    sha256: str = ""


def find_trust(bundle: Bundle) -> Trust | None:
    """Find the trust file of a bundle: a shipped one, or the one beside the bundle's file; None without.

    Raises
    ------
    BundleError
        If there is one that can't be read.
    """
    paths = [] if bundle.path is None else [trust_path(bundle.path)]
    for path in (*paths, TRUST_FOLDER / f"{bundle.name}{SUFFIX}"):
        if path.is_file():
            trust = load_trust(path)
            if trust.bundle_sha256 == bundle.sha256:
                return trust
    return None


def trust_path(bundle_path: Path) -> Path:
    """Give the path of the trust file beside a bundle."""
    return bundle_path.with_name(bundle_path.stem + SUFFIX)


def save_trust(trust: Trust, path: Path | str) -> Path:
    """Write a trust file, and return its path."""
    arrays: dict[str, NDArray[Any]] = {}
    for size, oddness in trust.oddness.items():
        for name, value in _arrays_of(oddness).items():
            arrays[f"oddness/{size}/{name}"] = value
    for size, calibration in trust.calibration.items():
        for part in ("families", "layers"):
            for name, value in _layers_to_arrays(getattr(calibration, part)).items():
                arrays[f"calibration/{size}/{part}/{name}"] = value
    for size, head in trust.heads.items():
        plain = {name: np.asarray(getattr(head, name)) for name in ("means", "deviations", "shares")}
        for place, layer in enumerate(head.layers):
            if layer.ndim > 1:
                plain[f"layer/{place}"], plain[f"step/{place}"] = steps_of(layer)
            else:
                plain[f"layer/{place}"] = layer
        arrays |= {f"head/{size}/{name}": value for name, value in plain.items()}
    manifest = {
        "format": FORMAT,
        "bundle_sha256": trust.bundle_sha256,
        "statistics": STATISTICS,
        "oddness": {str(size): {"kinds": list(o.kinds)} for size, o in trust.oddness.items()},
        "calibration": {str(size): {"limit": c.limit} for size, c in trust.calibration.items()},
        "heads": {
            str(size): {
                "maps": asdict(head.maps),
                "spots": SPOTS,
                **({"heard": head.heard} if np.isfinite(head.heard) else {}),
            }
            for size, head in trust.heads.items()
        },
        "made": dict(trust.made),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, manifest=np.array(json.dumps(manifest)), **arrays)
    return partial.replace(path)


def load_trust(path: Path | str) -> Trust:
    """Read a trust file.

    Raises
    ------
    BundleError
        If it is missing, damaged, or of another version of the package.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            manifest = json.loads(str(arrays["manifest"]))
            heads = manifest.get("heads", {})
            if (
                manifest["format"] not in READABLE
                or manifest["statistics"] != STATISTICS
                or any(about["spots"] != SPOTS for about in heads.values())
            ):
                raise ValueError("it is of another version of speckle_plugin")

            def below(folder: str) -> dict[str, NDArray[Any]]:
                return {n.removeprefix(folder): arrays[n] for n in arrays.files if n.startswith(folder)}

            oddness = {
                int(size): _oddness(below(f"oddness/{size}/"), tuple(Flag(k) for k in about["kinds"]))
                for size, about in manifest["oddness"].items()
            }
            calibration = {
                int(size): _calibration(below(f"calibration/{size}/"), float(about["limit"]))
                for size, about in manifest.get("calibration", {}).items()
            }
            found = {
                int(size): _head(
                    below(f"head/{size}/"), SpotMaps(**about["maps"]), float(about.get("heard", np.inf))
                )
                for size, about in heads.items()
            }
        sha256 = hashlib.sha256(content).hexdigest()
        return Trust(manifest["bundle_sha256"], oddness, manifest["made"], calibration, found, sha256)
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(
            f"the trust file {path} can't be read ({error}): make it again with speckle calibrate"
        ) from error


def _arrays_of(oddness: Oddness) -> dict[str, NDArray[Any]]:
    known = {f"known/{name}": np.asarray(value, np.float32) for name, value in vars(oddness.known).items()}
    known["known/components"] = known["known/components"].astype(np.float16)
    plain = {
        name: np.asarray(getattr(oddness, name)) for name in ("means", "deviations", "middles", "limits")
    }
    return {**known, **_layers_to_arrays(oddness.layers), **plain}


def _layers_to_arrays(layers: Sequence[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
    return {
        f"layer/{place}": layer.astype(np.float16 if layer.ndim > 1 else np.float32)
        for place, layer in enumerate(layers)
    }


def _layers(arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
    count = sum(name.startswith("layer/") for name in arrays)
    return [arrays[f"layer/{place}"].astype(np.float32) for place in range(count)]


def _calibration(arrays: Mapping[str, NDArray[Any]], limit: float) -> Calibration:
    families, layers = (
        _layers({n.removeprefix(part): array for n, array in arrays.items() if n.startswith(part)})
        for part in ("families/", "layers/")
    )
    # Files of before masks and beams were told of do not weigh them.
    untold = brief_size(families) - len(layers[0])
    layers[0] = np.pad(layers[0], ((0, max(untold, 0)), (0, 0)))
    return Calibration(families, layers, limit)


def _head(arrays: Mapping[str, NDArray[Any]], maps: SpotMaps, heard: float) -> Head:
    layers = _layers(arrays)
    layers = [layer * arrays.get(f"step/{place}", np.float32(1.0)) for place, layer in enumerate(layers)]
    shares = arrays["shares"]
    shares = shares[:, None] if shares.ndim == 2 else shares  # files of before they were told of families
    return Head(maps, arrays["means"], arrays["deviations"], layers, shares, heard)


def _oddness(arrays: Mapping[str, NDArray[Any]], kinds: tuple[Flag, ...]) -> Oddness:
    known: dict[str, Any] = {
        name.removeprefix("known/"): value if value.ndim else float(value)
        for name, value in arrays.items()
        if name.startswith("known/")
    }
    plain = {name: arrays[name] for name in ("means", "deviations", "middles", "limits")}
    return Oddness(
        known=FeatureStatistics(**known),
        layers=_layers(arrays),
        kinds=kinds,
        **plain,
    )
