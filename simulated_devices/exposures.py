"""Frames from what their events store: the truth of an exposure, and the frame it stands for.

:func:`simulate_frame` is the whole way from a seed to a frame, and the only one: the detector
takes it when it exposes, :func:`regenerate_frame` takes it to make a stored frame again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulated_devices.detector_response import DetectorResponse
from simulated_devices.grids import PixelGrid
from simulated_devices.sample import Illumination
from simulated_devices.world import World, draw_intensity

__all__ = ["Truth", "regenerate_frame", "simulate_frame", "truth_data_keys"]


@dataclass(frozen=True)
class Truth(Illumination):
    """All that is particular to one exposure; read with its frames under `det_truth_<field>`.

    Parameters
    ----------
    noise_seed : int
        Of the detector's noise.
    exposure_time : float
        Seconds per frame. It stands here as well as in the configuration because a plan can
        change it within a run, when the configuration is already written.
    """

    noise_seed: int
    exposure_time: float


_KINDS: dict[str, tuple[type, dict[str, Any]]] = {
    "int": (int, {"dtype": "integer", "dtype_numpy": "<i8"}),
    "float": (float, {"dtype": "number", "dtype_numpy": "<f8"}),
    "str": (str, {"dtype": "string", "dtype_numpy": "|S32"}),
    "bool": (bool, {"dtype": "boolean", "dtype_numpy": "|b1"}),
}
_UNITS = {"x": "mm", "y": "mm", "exposure_time": "s"}


def truth_data_keys(name: str) -> dict[str, dict[str, Any]]:
    """Describe the truth that a detector `name` reads with every exposure."""
    keys = {}
    for field in fields(Truth):
        key = {"source": f"SIM:{name}", "shape": [], **_KINDS[str(field.type)][1]}
        if field.name in _UNITS:
            key["units"] = _UNITS[field.name]
        keys[f"{name}_truth_{field.name}"] = key
    return keys


def simulate_frame(
    truth: Truth,
    grid: PixelGrid,
    response: DetectorResponse,
    nominal_exposure_time: float,
    frame_index: int = 0,
    world: World | None = None,
) -> NDArray[Any]:
    """Make one frame of an exposure.

    Parameters
    ----------
    truth : Truth
        What was exposed.
    grid : PixelGrid
        Where the pixels look.
    response : DetectorResponse
        What the detector does to the intensity.
    nominal_exposure_time : float
        Seconds in which a frame collects `response.photons` photons. An exposure time of 0
        stands for a nominal exposure that takes no time.
    frame_index : int
        Which frame of the exposure, from 0.
    world : World, optional
        What particles and beam are like; by default disks at rest in coherent light.

    Returns
    -------
    array, shape `grid.shape`, of the response's dtype

    Notes
    -----
    Configuration and noise of frame i come from the seed sequences ``[seed, i]`` and
    ``[noise_seed, i]``; on a frozen sample the configuration is that of frame 0.
    """
    configuration = np.random.default_rng([truth.seed, 0 if truth.frozen else frame_index])
    noise = np.random.default_rng([truth.noise_seed, frame_index])
    intensity = draw_intensity(world or World(), truth.family, truth.disk_number, grid, configuration)
    scale = truth.exposure_time / nominal_exposure_time if truth.exposure_time > 0 else 1.0
    return response.respond(intensity, noise, scale)


def regenerate_frame(
    data: Mapping[str, Any], configuration: Mapping[str, Any], name: str = "det", frame_index: int = 0
) -> NDArray[Any]:
    """Make a stored frame again, bit for bit, from what its event and descriptor store.

    Parameters
    ----------
    data : mapping
        ``event["data"]``, or a row of the table of the stream.
    configuration : mapping
        ``descriptor["configuration"][name]["data"]``.
    name : str
        Of the detector.
    frame_index : int
        Which frame of the exposure, from 0.

    Returns
    -------
    array, shape (rows, columns), of the dtype in which it was stored

    Raises
    ------
    ValueError
        If a key is missing, or the exposure has no such frame.

    Notes
    -----
    The same versions of NumPy, SciPy and Numba on the same kind of processor give the same
    bits; elsewhere intensities agree to rounding.
    """
    truth = Truth(
        **{
            field.name: _KINDS[str(field.type)][0](_stored(data, name, f"truth_{field.name}", "data"))
            for field in fields(Truth)
        }
    )

    def setting(key: str) -> Any:
        return _stored(configuration, name, key, "configuration")

    frames = int(setting("frames_per_trigger"))
    if not 0 <= frame_index < frames:
        raise ValueError(f"frame_index must be from 0 to {frames - 1}, not {frame_index!r}")
    rows, columns = (int(n) for n in setting("grid_shape"))
    row, column = (float(c) for c in setting("beam_center"))
    grid = PixelGrid((rows, columns), float(setting("pitch")), (row, column))
    response = DetectorResponse.from_dict(json.loads(setting("response")))
    # Runs of earlier versions do not state the world: it was the default one.
    stated = {f"{name}_world", f"{name}-world"} & set(configuration)
    world = World.from_dict(json.loads(setting("world"))) if stated else World()
    return simulate_frame(truth, grid, response, float(setting("nominal_exposure_time")), frame_index, world)


def _stored(values: Mapping[str, Any], name: str, key: str, what: str) -> Any:
    """Give a value as ophyd names it, `det_key`, or as ophyd-async does, `det-key`."""
    for full_name in (f"{name}_{key}", f"{name}-{key}"):
        if full_name in values:
            value = values[full_name]
            return value.decode() if isinstance(value, bytes) else value
    raise ValueError(
        f"the {what} lacks '{name}_{key}'; it has {', '.join(sorted(map(str, values))) or 'nothing'}. Give "
        "the name of a SpeckleDetector and what one of its events and its descriptor store"
    )
