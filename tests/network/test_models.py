"""Bundles: what goes in comes out, and nothing damaged or strange gets through."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speckle_plugin.network import Bundle, BundleError, find_bundle, load_bundle, save_bundle
from speckle_plugin.network.bundle import hash_contents
from speckle_plugin.network.bundle_checks import ARCHITECTURES
from speckle_plugin.network.engines.openvino import OpenvinoEngine, has_quick_bfloat16, is_quick
from speckle_plugin.network.resnet import STEMS, build_resnet50, resnet50_shapes, widened
from speckle_plugin.preprocessing import Preprocessing


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """Make a bundle of two small weights: enough for all but the network itself."""
    shapes = {"conv/kernel": (3, 3, 1, 4), "conv/bias": (4,)}
    monkeypatch.setitem(ARCHITECTURES, "two weights", lambda class_count: shapes)
    rng = np.random.default_rng(0)
    return Bundle(
        name="small",
        version="3",
        classes=(2, 5, 9),
        preprocessing=Preprocessing(crop=64, intensity="linear"),
        weights={
            "conv/kernel": rng.normal(size=(3, 3, 1, 4)).astype(np.float32),
            "conv/bias": np.array([1e5, 0, -1, 2], np.float32),  # more than float16 holds
        },
        pitch=0.1,
        temperature=1.3,
        metrics={"test": {"accuracy": 0.9}},
        training={"seed": 4, "curves": [{"epoch": 1, "loss": 0.5}]},
        parent="abc",
        architecture="two weights",
    )


def _rewrite(path: Path, change: Callable[[dict[str, Any]], None], rehash: bool = True) -> None:
    """Change a bundle's parts, as another program might, with or without a new hash."""
    with zipfile.ZipFile(path) as archive:
        parts: dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
    parts["manifest.json"] = json.loads(parts["manifest.json"])
    change(parts)
    parts["manifest.json"] = json.dumps(parts["manifest.json"]).encode()
    if rehash:
        parts["SHA256"] = hash_contents(parts["manifest.json"], parts["weights.npz"]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def test_round_trip(bundle: Bundle, tmp_path: Path) -> None:
    saved = save_bundle(bundle, tmp_path / "new folder" / "small.bundle")
    loaded = load_bundle(tmp_path / "new folder" / "small.bundle")
    assert len(loaded.sha256) == 64
    assert saved.sha256 == loaded.sha256
    for name in set(vars(bundle)) - {"weights", "sha256", "path"}:
        assert getattr(loaded, name) == getattr(bundle, name), name
    assert loaded.weights["conv/kernel"].dtype == np.float32
    np.testing.assert_allclose(loaded.weights["conv/kernel"], bundle.weights["conv/kernel"], rtol=1e-3)
    np.testing.assert_array_equal(loaded.weights["conv/bias"], bundle.weights["conv/bias"])


def test_saving_again_changes_nothing(bundle: Bundle, tmp_path: Path) -> None:
    first = save_bundle(bundle, tmp_path / "first.bundle")
    second = save_bundle(first, tmp_path / "second.bundle")
    assert first.sha256 == second.sha256
    np.testing.assert_array_equal(first.weights["conv/kernel"], second.weights["conv/kernel"])


def test_weights_that_diverged_are_not_saved(bundle: Bundle, tmp_path: Path) -> None:
    for bad in (np.nan, 1e6):
        weights = {**bundle.weights, "conv/kernel": np.full((1, 1, 1, 1), bad, np.float32)}
        with pytest.raises(BundleError, match="conv/kernel are not finite"):
            save_bundle(Bundle(**{**vars(bundle), "weights": weights}), tmp_path / "bad.bundle")
    assert not list(tmp_path.iterdir())


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle at"):
        find_bundle(tmp_path / "missing.bundle")
    with pytest.raises(BundleError, match="no bundle at"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_truncated(bundle: Bundle, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "small.bundle"
    save_bundle(bundle, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(BundleError, match="truncated"):
        load_bundle(path)


def test_a_flipped_bit(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "small.bundle"
    save_bundle(bundle, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError):
        load_bundle(path)


def test_wrong_hash(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "small.bundle"
    save_bundle(bundle, path)
    _rewrite(path, lambda parts: parts["manifest.json"].update(temperature=0.5), rehash=False)
    with pytest.raises(BundleError, match=r"has the SHA-256 .* but says"):
        load_bundle(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "another format"),
        ({"format": None}, "another format"),
        ({"preprocessing": {"sharpen": 1}}, r"unknown preprocessing settings \['sharpen'\]"),
        ({"preprocessing": {"crop": 1}}, "crop must be"),
        ({"preprocessing": None}, "preprocessing: input should be a valid dictionary, not None"),
        ({"flavour": "sweet"}, r"unknown keys \['flavour'\] for Manifest"),
        ({"classes": None}, "classes: input should be a valid list, not None"),
        ({"classes": "2-20"}, "classes: input should be a valid list, not '2-20'"),
        ({"classes": []}, "classes: list should have at least 2 items"),
        ({"classes": [2, 5, 5]}, r"each once: they have \[5\] more than once"),
        ({"classes": [2, 5, -9]}, "they have the negative -9"),
        ({"classes": [2, 5, 9.5]}, "classes.2: input should be a valid integer, not 9.5"),
        ({"classes": [2, 5, "9"]}, "classes.2: input should be a valid integer, not '9'"),
        ({"temperature": "warm"}, "temperature: input should be a valid number, not 'warm'"),
        ({"temperature": 0}, "temperature: input should be greater than 0, not 0"),
        ({"temperature": float("nan")}, "temperature: input should be"),
        ({"pitch": -0.1}, "pitch: input should be greater than 0, not -0.1"),
        ({"pitch": float("inf")}, "pitch: input should be a finite number"),
        ({"name": ""}, "name: string should have at least 1 character"),
        ({"metrics": []}, r"metrics: input should be a valid dictionary, not \[\]"),
        ({"architecture": "vgg"}, "its architecture is 'vgg'; known are resnet50"),
    ],
)
def test_what_this_version_cannot_read(
    bundle: Bundle, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "small.bundle"
    save_bundle(bundle, path)
    _rewrite(path, lambda parts: parts["manifest.json"].update(change))
    with pytest.raises(BundleError, match=message):
        load_bundle(path)


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def test_code_in_a_bundle_never_runs(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.bundle"
    save_bundle(bundle, path)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, kernel=np.array([_Bomb()], dtype=object))
    for weights in (buffer.getvalue(), pickle.dumps(_Bomb())):
        _rewrite(path, lambda parts, weights=weights: parts.update({"weights.npz": weights}))  # type: ignore[misc]
        with pytest.raises(BundleError, match="pickle"):
            load_bundle(path)
    assert not Path("exploded").exists()


def test_weights_that_do_not_fit_the_network(bundle: Bundle) -> None:
    with pytest.raises(
        BundleError, match="bundle 'small': its weights are not those of resnet50: 320 missing"
    ):
        replace(bundle, architecture="resnet50").build_network()


@pytest.mark.parametrize("architecture", STEMS)
def test_the_shapes_of_the_network_are_those_that_keras_builds(architecture: str) -> None:
    built = build_resnet50(19, architecture)
    shapes = {variable.path: tuple(variable.shape) for variable in built.weights}
    assert resnet50_shapes(19, architecture) == shapes


def test_a_wider_network_answers_like_its_parent_to_half_the_size() -> None:
    parent = find_bundle()
    wide = replace(parent, architecture="resnet50_wide", weights=widened(parent.weights))
    small = np.random.default_rng(0).normal(size=(2, 64, 48)).astype(np.float32)
    expected = parent.build_network()(small[..., None])
    large = np.repeat(np.repeat(small, 2, 1), 2, 2)
    np.testing.assert_allclose(wide.build_network()(large[..., None]), expected, rtol=1e-3, atol=1e-3)
    answer = OpenvinoEngine(wide).run(large).logits
    tolerance = 1e-3 if not has_quick_bfloat16() else 0.3
    np.testing.assert_allclose(answer, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("cpuinfo", "quick"),
    [
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16 avx512_fp16", False),
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("vendor_id : AuthenticAMD\nflags : avx512f avx512_bf16", True),
        ("", True),
    ],
)
def test_bfloat16_where_it_is_quicker(cpuinfo: str, quick: bool) -> None:
    assert is_quick(cpuinfo) is quick


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"conv/bias": None}, r"1 missing \['conv/bias'\]"),
        ({"dense/bias": np.zeros(4, np.float32)}, r"1 unknown \['dense/bias'\]"),
        ({"conv/bias": np.zeros(3, np.float32)}, r"conv/bias have the shape \(3,\)"),
        ({"conv/bias": np.full(4, np.nan, np.float32)}, "conv/bias are not finite"),
    ],
)
def test_weights_that_make_no_sense(
    bundle: Bundle, tmp_path: Path, weights: dict[str, Any], message: str
) -> None:
    path = tmp_path / "small.bundle"
    save_bundle(bundle, path)
    changed = {name: value for name, value in {**bundle.weights, **weights}.items() if value is not None}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **changed)
    _rewrite(path, lambda parts: parts.update({"weights.npz": buffer.getvalue()}))
    with pytest.raises(BundleError, match=message):
        load_bundle(path)
