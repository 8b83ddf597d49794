"""What a training run is: one frozen recipe, read from a TOML file.

The recipe goes whole into the bundle that it makes. Everything random follows from its
seed; the frames for training, validation and test come from separate streams, so that
no test frame is ever trained on, whatever the seeds are.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from simulated_devices import DISK_NUMBERS, DetectorResponse, Family, World, grid_by_name
from speckle_plugin.network import Bundle
from speckle_plugin.network.resnet import STEMS
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.typed_values import typed_values

__all__ = ["FrameRecipe", "TrainingRecipe", "frame_recipe_of", "load_recipe", "stored_frame_recipe"]

T = TypeVar("T")

RECIPE_FOLDER = Path(__file__).parent / "recipes"

REAL_WORLD = (
    "shape",
    "coherence_length",
    "beam_width",
    "motion",
    "charge_sharing",
    "panel_size",
    "panel_gap",
    "real_share",
)
"""Fields of a recipe of frames that switch on what is less than ideal."""


@dataclass(frozen=True)
class FrameRecipe:
    """Which simulated frames to draw.

    Parameters
    ----------
    families : tuple of str
    shares : tuple of float, optional
        How often each family is drawn, in any unit; empty for equally often.
    grid, size
        Name and size of the pixel grid.
    disk_numbers : tuple of int
    photons : tuple of float, optional
        Least and most photons per frame, drawn on a logarithmic scale; none for frames
        without noise.
    noisy_share : float
        Share of the frames that have photon noise, where `photons` is given.
    beam_offset : float
        Largest distance, along rows and along columns, of the beam from where the geometry says
        it is, in pixels.
    offset_share : float
        Share of the frames that have such an offset.
    masked_share : float
        Share of the frames of which a part is masked: single pixels, and a bar in half of them.
    shape : str
        Of the particles, see :class:`simulated_devices.Shape`.
    coherence_length, beam_width : tuple of float, optional
        Least and most of these settings of :class:`simulated_devices.World`, drawn on a logarithmic scale;
        none for coherent light, and for a beam that is the same everywhere.
    motion : float
        Most of that setting of the world.
    charge_sharing : float
        Most of that setting of :class:`simulated_devices.DetectorResponse`; for frames with photon noise.
    panel_size, panel_gap : int
        Those settings of the detector; the gaps are masked.
    real_share : float
        Share of the frames in which the last seven take part.
    """

    families: tuple[str, ...] = ("mono",)
    shares: tuple[float, ...] = ()
    grid: str = "quadrant"
    size: int = 257
    disk_numbers: tuple[int, ...] = tuple(DISK_NUMBERS)
    photons: tuple[float, ...] = ()
    noisy_share: float = 1.0
    beam_offset: float = 0.0
    offset_share: float = 1.0
    masked_share: float = 0.0
    shape: str = "disk"
    coherence_length: tuple[float, ...] = ()
    beam_width: tuple[float, ...] = ()
    motion: float = 0.0
    charge_sharing: float = 0.0
    panel_size: int = 0
    panel_gap: int = 0
    real_share: float = 1.0

    def __post_init__(self) -> None:
        for family in self.families:
            Family(family)
        if not self.families:
            raise ValueError("families must name at least one family")
        if self.shares and (
            len(self.shares) != len(self.families) or not all(0 < share < math.inf for share in self.shares)
        ):
            raise ValueError(f"shares must be one positive number for each family, not {self.shares}")
        rising = tuple(sorted(set(self.disk_numbers)))
        if len(rising) < 2 or rising[0] < 1 or self.disk_numbers != rising:
            raise ValueError(
                "disk_numbers must be at least two positive integers in rising order, "
                f"not {self.disk_numbers}"
            )
        if self.photons and (len(self.photons) != 2 or not 0 < self.photons[0] <= self.photons[1] < math.inf):
            raise ValueError(f"photons must be empty or (least, most), not {self.photons}")
        World(shape=self.shape, motion=self.motion)
        DetectorResponse(
            charge_sharing=self.charge_sharing, panel_size=self.panel_size, panel_gap=self.panel_gap
        )
        for name in ("coherence_length", "beam_width"):
            span = getattr(self, name)
            if span and (len(span) != 2 or not 0 < span[0] <= span[1]):
                raise ValueError(f"{name} must be empty or (least, most), not {span}")
        for name in ("noisy_share", "offset_share", "masked_share", "real_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if not 0 <= self.beam_offset < math.inf:
            raise ValueError(f"beam_offset must be 0 or more pixels, not {self.beam_offset}")
        grid_by_name(self.grid, self.size)

    @property
    def ideal(self) -> FrameRecipe:
        """The same without anything of the real world: disks at rest, coherent light, a whole detector."""
        changes: dict[str, Any] = {
            each.name: each.default for each in fields(self) if each.name in REAL_WORLD
        }
        return replace(self, **changes)

    @property
    def is_real(self) -> bool:
        """Whether something of the real world is switched on."""
        spans = self.coherence_length or self.beam_width
        return bool(spans or self.motion or self.charge_sharing or self.panel_size or self.shape != "disk")


@dataclass(frozen=True)
class TrainingRecipe:
    """How to train on them.

    Parameters
    ----------
    name, version : str
        Of the bundle that comes out.
    frames : FrameRecipe
    preprocessing : Preprocessing
    training_frames : int, optional
        Size of the training set, which is gone through as often as the steps need, in a new
        order each time. None for an endless stream: no frame is seen twice.
    steps, batch : int
        Updates of the weights, and network inputs in each (a frame with the beam inside gives two).
    steps_per_epoch : int
        Steps between two checkpoints; each comes with a validation.
    optimizer : {"adamw", "adam"}
        `adam` is the paper's.
    schedule : {"one_cycle", "constant"}
        Of the learning rate: linear warm-up and cosine decay to 0, or constant.
    learning_rate, weight_decay : float
        Peak learning rate; decay of AdamW.
    warmup_steps : int
    ema_momentum : float
        Of an exponential moving average of the weights, which then is the result; 0 is off.
    patience : int, optional
        Epochs without a lower validation loss after which training stops, with the weights of
        the best epoch; None is off.
    architecture : {"resnet50", "resnet50_wide"}
        See :func:`speckle_plugin.network.build_resnet50`. A `resnet50` may be the parent of a wide one.
    quick : bool
        Train with the faster layers of `training.fast_network`.
    validation_per_class, test_per_class : int
    precision : str
        Keras dtype policy.
    backend : {"tensorflow", "jax"}
        What Keras runs on. JAX trains on one device, with plain layers in place of the `quick` ones; the
        losses are the same.
    seed : int
    """

    name: str
    version: str
    frames: FrameRecipe = field(default_factory=FrameRecipe)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    training_frames: int | None = None
    steps: int = 300
    batch: int = 40
    steps_per_epoch: int = 50
    optimizer: Literal["adamw", "adam"] = "adamw"
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 60
    ema_momentum: float = 0.0
    patience: int | None = None
    architecture: str = "resnet50"
    quick: bool = True
    validation_per_class: int = 10
    test_per_class: int = 100
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    backend: Literal["tensorflow", "jax"] = "tensorflow"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps_per_epoch < 1 or self.steps < 1 or self.batch < 2 or self.steps % self.steps_per_epoch:
            raise ValueError(
                f"steps ({self.steps}) must be a multiple of steps_per_epoch ({self.steps_per_epoch}), "
                "batch >= 2"
            )
        if self.optimizer not in ("adamw", "adam") or self.schedule not in ("one_cycle", "constant"):
            raise ValueError(
                "optimizer must be 'adamw' or 'adam' and schedule 'one_cycle' or 'constant', "
                f"not {self.optimizer!r} and {self.schedule!r}"
            )
        if not (0 < self.learning_rate < math.inf and 0 <= self.weight_decay < math.inf):
            raise ValueError(
                "learning_rate must be positive and weight_decay 0 or more, "
                f"not {self.learning_rate} and {self.weight_decay}"
            )
        if self.warmup_steps < 0 or self.seed < 0:
            raise ValueError(
                f"warmup_steps and seed must be 0 or more, not {self.warmup_steps} and {self.seed}"
            )
        if self.architecture not in STEMS:
            raise ValueError(f"architecture must be one of {', '.join(STEMS)}, not {self.architecture!r}")
        if not 0 <= self.ema_momentum < 1:
            raise ValueError(f"ema_momentum must be from 0 to below 1, not {self.ema_momentum}")
        if self.test_per_class < 1 or self.validation_per_class < 1:
            raise ValueError(
                "test_per_class and validation_per_class must be at least 1, not "
                f"{self.test_per_class} and {self.validation_per_class}"
            )
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, not {self.patience}")
        if self.training_frames is not None and self.training_frames < self.batch:
            raise ValueError(f"training_frames must be at least one batch, not {self.training_frames}")


def load_recipe(path: Path | str, changes: Sequence[str] = ()) -> TrainingRecipe:
    """Read a recipe from a TOML file, or one of the shipped recipes by its name.

    Parameters
    ----------
    path : path or str
    changes : sequence of str
        Such as ``steps=200`` or ``preprocessing.intensity="log"``: TOML, after that of the file;
        a word needs no quotes.

    Raises
    ------
    ValueError
        If there is no such file, or it has an unknown key or a value out of range.
    """
    path = Path(path)
    shipped = RECIPE_FOLDER / f"{path.name}.toml"
    if not path.is_file() and shipped.is_file():
        path = shipped
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPE_FOLDER.glob("*.toml")))
        raise ValueError(f"no recipe at {path}: give a TOML file or the name of a shipped recipe ({known})")
    with path.open("rb") as file:
        values = tomllib.load(file)
    for change in changes:
        _change(values, change)
    values["frames"] = _make(FrameRecipe, values.get("frames", {}), path)
    values["preprocessing"] = _make(Preprocessing, values.get("preprocessing", {}), path)
    return _make(TrainingRecipe, values, path)


def stored_frame_recipe(bundle: Bundle) -> FrameRecipe | None:
    """Give the recipe of the simulated frames that a bundle was trained on, None if it has none.

    Raises
    ------
    ValueError
        If the recipe is of another version of the package, or damaged.
    """
    values = bundle.training.get("recipe", {}).get("frames")
    if not values:
        return None
    try:
        return typed_values(FrameRecipe, values)
    except ValueError as error:
        raise ValueError(f"the frame recipe of the bundle {bundle.name!r} can't be used: {error}") from error


def frame_recipe_of(bundle: Bundle) -> FrameRecipe:
    """Give the recipe of the simulated frames that a bundle was trained on.

    Raises
    ------
    ValueError
        If it has none, or one of another version of the package.
    """
    recipe = stored_frame_recipe(bundle)
    if recipe is None:
        raise ValueError(f"the bundle {bundle.name!r} does not say on which simulated frames it was trained")
    return recipe


def _change(values: dict[str, Any], change: str) -> None:
    key, separator, text = change.partition("=")
    *tables, name = key.strip().split(".")
    if not separator or len(tables) > 1 or not name:
        raise ValueError(f"the change {change!r} can't be read: give KEY=VALUE, such as frames.size=129")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise ValueError(
                f"the change {change!r} can't be made: {table} is {values!r}, no table of values"
            )
    values[name] = value


def _make(kind: type[T], values: dict[str, Any], path: Path) -> T:
    try:
        return typed_values(kind, values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
