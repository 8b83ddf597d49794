"""A simulated sample on an x, y stage, which knows what the beam meets at each position.

Use :class:`SpeckleSample` with a :class:`~simulated_devices.detector.SpeckleDetector`: move
`sample.x` and `sample.y` by any plan; the detector asks the sample what it looks at.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from ophyd import Component, Device

from simulated_devices.disks import Family
from simulated_devices.sample_map import SampleMap
from simulated_devices.signals import CheckedSignal, flag, non_negative
from simulated_devices.stages import SampleStage

__all__ = ["LARGEST_SEED", "Illumination", "SpeckleSample"]

LARGEST_SEED = 2**53 - 1
"""The largest integer that JSON readers and double-precision columns keep exactly."""


@dataclass(frozen=True)
class Illumination:
    """What the beam meets in one exposure.

    Parameters
    ----------
    x, y : float
        Position of the stage in mm.
    disk_number : int
        How many disks there are.
    family : str
        How their radii are chosen, see :class:`~simulated_devices.disks.Family`.
    seed : int
        Of the configuration of the disks.
    frozen : bool
        If so, all frames of the exposure see one configuration; if not, each sees another.
    """

    x: float
    y: float
    disk_number: int
    family: str
    seed: int
    frozen: bool


def _family(value: Any) -> str:
    try:
        return Family(value).value
    except ValueError:
        raise ValueError(f"expected one of {', '.join(Family)}, got {value!r}") from None


def _seed(value: Any) -> int:
    if int(value) != value or not 0 <= value <= LARGEST_SEED:
        raise ValueError(f"expected an integer from 0 to {LARGEST_SEED}, got {value!r}")
    return int(value)


class SpeckleSample(Device):
    """Disks in boxes, their number depending on the position.

    Parameters
    ----------
    name : str
        Name of the device; its stages are `name_x` and `name_y`.
    sample_map : SampleMap, optional
        The disk number at each position, and the extent of the sample, which limits the stages.
    family : str
        How the radii are chosen.
    frozen : bool
        False: the disks rearrange between frames. True: at one position they stay as they are.
    seed : int, optional
        Of all configurations. By default one is drawn, and can be read, so that two sessions do
        not repeat each other's frames.
    position_resolution : float
        Of a frozen sample: positions nearer than about this, in mm, show the same configuration.

    Attributes
    ----------
    x, y : SampleStage
        The stages, in mm.
    family, frozen, seed : CheckedSignal
        The settings of the same names, which plans can set. Setting the seed starts the series
        of configurations again.
    """

    x = Component(SampleStage, labels={"motors"})
    y = Component(SampleStage, labels={"motors"})
    family = Component(CheckedSignal, check=_family, value=Family.MONO, kind="config")
    frozen = Component(CheckedSignal, check=flag, value=False, kind="config")
    seed = Component(CheckedSignal, check=_seed, value=0, kind="config")

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        sample_map: SampleMap | None = None,
        family: Family | str = Family.MONO,
        frozen: bool = False,
        seed: int | None = None,
        position_resolution: float = 0.001,
        **kwargs: Any,
    ) -> None:
        if not non_negative(position_resolution):
            raise ValueError("position_resolution must be above 0 mm, not 0")
        super().__init__(prefix, name=name, **kwargs)
        self._map = SampleMap() if sample_map is None else sample_map
        self._position_resolution = float(position_resolution)
        self.x.limits, self.y.limits = self._map.x_range, self._map.y_range
        for stage in (self.x, self.y):
            low, high = stage.limits
            if not low <= stage.position <= high:
                stage.set((low + high) / 2.0).wait()
        self._series: np.random.Generator = np.random.default_rng()
        self.seed.subscribe(self._start_series, run=False)
        self.family.put(family)
        self.frozen.put(frozen)
        self.seed.put(int(np.random.default_rng().integers(LARGEST_SEED + 1)) if seed is None else seed)

    @property
    def map(self) -> SampleMap:
        """The disk number at each position."""
        return self._map

    def _start_series(self, *, value: int, **_: Any) -> None:
        self._series = np.random.default_rng(value)

    def illuminate(self) -> Illumination:
        """Tell what the beam meets in the next exposure, at the present position.

        On a rearranging sample each call gives another configuration.

        Raises
        ------
        ValueError
            If the stages are not on the sample.
        """
        x, y = float(self.x.position), float(self.y.position)
        frozen = self.frozen.get()
        return Illumination(
            x=x,
            y=y,
            disk_number=self._map.disk_number(x, y),
            family=self.family.get(),
            seed=self._frozen_seed(x, y) if frozen else int(self._series.integers(LARGEST_SEED + 1)),
            frozen=frozen,
        )

    def _frozen_seed(self, x: float, y: float) -> int:
        # Counted from the sample's edges, as seeds must not be negative.
        steps = [
            max(round((position - low) / self._position_resolution), 0)
            for position, low in ((x, self._map.x_range[0]), (y, self._map.y_range[0]))
        ]
        return int(np.random.default_rng([self.seed.get(), *steps]).integers(LARGEST_SEED + 1))

    def read_configuration(self) -> OrderedDict[str, dict[str, Any]]:
        """Give the settings, among them the map as a JSON string."""
        configuration: OrderedDict[str, dict[str, Any]] = super().read_configuration()
        configuration[f"{self.name}_map"] = {
            "value": json.dumps(self._map.to_dict(), sort_keys=True),
            "timestamp": self.seed.timestamp,
        }
        return configuration

    def describe_configuration(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe the settings."""
        description: OrderedDict[str, dict[str, Any]] = super().describe_configuration()
        description[f"{self.name}_map"] = {"source": "SIM:map", "dtype": "string", "shape": []}
        return description
