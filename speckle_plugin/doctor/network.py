"""The network and what computes it: engines, GPU, and whether a frame gets a label."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Generator
from importlib.util import find_spec

import numpy as np

from speckle_plugin.doctor.finding import Finding, broken, fine, note
from speckle_plugin.network.choosing import open_classifier
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.settings import Settings

__all__ = ["examine_network"]


def examine_network(settings: Settings) -> Generator[Finding, None, Classifier | None]:
    """Look for a GPU, load the network, and have it classify a frame; give what classifies, if anything does.

    A network that sessions leave to a worker is loaded as well.
    """
    yield _gpu()
    if settings.engine == "none":
        yield note(
            "engine",
            'the setting engine is "none": sessions store frames without labels',
            "keep a `speckle worker` running, or give another engine",
        )
    try:
        started = time.perf_counter()
        engine = "auto" if settings.engine == "none" else settings.engine
        classifier = open_classifier(settings.model, engine)
        loaded = time.perf_counter() - started
        # Of a size that every crop of the network fits into.
        crop = classifier.bundle.preprocessing.crop or 129
        frame = np.random.default_rng(0).exponential(100.0, (2 * crop, 2 * crop)).astype(np.float32)
        from speckle_plugin.preprocessing import FrameGeometry

        (result,) = classifier.label([frame], FrameGeometry(frame.shape, (0.0, 0.0)))
    except Exception as error:  # whatever it is, this is where it is told
        yield broken(
            "network",
            f"{settings.model or 'the default one'} on {settings.engine}: {error}",
            'speckle models lists the networks; the setting engine = "openvino" runs on any CPU',
        )
        return None
    bundle, chosen = classifier.bundle, classifier.engine
    yield fine(
        "network",
        f"{bundle.name} {bundle.version} ({bundle.sha256[:12]}) on {chosen.name} {chosen.precision}, "
        f"{chosen.device}; loaded in {loaded:.1f} s; a frame of noise is {result.status}",
    )
    return classifier


def _gpu() -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        return fine("GPU", "none of NVIDIA's is found: networks run on the CPU, by OpenVINO")
    try:
        told = subprocess.run(
            [program, "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stdout", "") or getattr(error, "stderr", "") or error
        return note(
            "GPU",
            f"nvidia-smi fails: {' '.join(str(said).split())}",
            "mend the driver; until then the CPU is used",
        )
    if not told.stdout.strip():
        return note("GPU", "nvidia-smi lists none", "mend the driver; until then the CPU is used")
    names = "; ".join(told.stdout.strip().splitlines())
    if find_spec("tensorflow") is None:
        return note("GPU", names, 'to use it: pip install "speckle-plugin[gpu]"')
    return fine("GPU", names)
