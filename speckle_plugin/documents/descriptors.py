"""What documents say of the detectors whose frames are classified.

The one place where a descriptor is read for where the beam is, how large a pixel is, and from
which value on it is saturated; live, for stored frames, and for training on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.roles import Role, matches, role_by_name
from speckle_plugin.documents.shapes import count_frames, is_array, why_no_frames
from speckle_plugin.documents.stated_values import center_by_names, k_step_by_names, number, stated_value
from speckle_plugin.preprocessing import FrameGeometry, hash_mask
from speckle_plugin.preprocessing.orientation import ORIENTATIONS, Orientation
from speckle_plugin.schema import (
    ASSUMED_CENTER,
    BEAM_CENTER,
    BEAM_CENTER_NAMES,
    BEAM_CENTER_SUFFIX,
    DARKS,
    DIVIDE_BY_FLATS,
    FLATS,
    GIVEN_K_STEP,
    IMAGE_KEYS,
    K_STEP_NAMES,
    LEAVE_OUT,
    MASKS,
    ORIENTATION,
    ORIENTATION_SUFFIX,
    PITCH_SUFFIX,
    PRIMARY,
    SATURATION_SUFFIX,
    SUBTRACT_DARKS,
    image_key_of,
)

__all__ = ["Detector", "FrameSettings", "describe_detector", "holds_images", "is_configured_anew"]

AS_STORED = "as-stored"

BY_NAME = "by name"
"""Stands in the configuration of results where the user did not say which images are darks or flats."""


@dataclass(frozen=True, eq=False)
class FrameSettings:
    """What a user says about frames beyond what their detectors say themselves.

    Parameters
    ----------
    image_keys : tuple of str, optional
        Data keys to classify; by default every key that holds images.
    beam_center : (row, column), optional
        For detectors without a configuration attribute `NAME_beam_center`, whose files do not say it either.
    masks : mapping of data key to array of bool
        True where a pixel is to be left out.
    leave_out : tuple of str
        Images not to classify: a stream (`baseline`), a data key, or `STREAM/KEY`; `*` stands for anything.
    darks : tuple of str, optional
        Images that are dark frames, in the same way. By default those of a stream or data key that is called
        dark, such as `dark/det_image` and `det_dark`. They are not classified.
    subtract_darks : bool
        Whether the newest dark frame of a detector is subtracted from its frames.
    flats : tuple of str, optional
        Images that are flat fields, in the same way. By default those that are called flat.
    divide_by_flats : bool
        Whether frames are divided by the newest flat field of their detector.
    orientation : str
        How frames are turned so that they stand as `masks` and `beam_center` do, one of
        :data:`speckle_plugin.preprocessing.orientation.ORIENTATIONS`; for detectors without a configuration
        attribute `NAME_orientation`.
    k_step : float, optional
        Wave number per pixel, for detectors without a configuration attribute `NAME_pitch`, whose files do
        not say it either.
    beam_center_names : (str, str), optional
        Configuration attributes with row and column of the beam, for detectors without `NAME_beam_center`;
        `*` stands for anything: `("*_cam_beam_y", "*_cam_beam_x")`.
    k_step_names : (str, str, str), optional
        Configuration attributes with wavelength, distance from the sample, and size of a square pixel, from
        which the k step is worked out in 1/nm, for detectors without `NAME_pitch`. Units are those of their
        data keys, or else angstrom, m and m.
    """

    image_keys: tuple[str, ...] | None = None
    beam_center: tuple[float, float] | None = None
    masks: Mapping[str, NDArray[np.bool_]] | None = None
    leave_out: tuple[str, ...] = ()
    darks: tuple[str, ...] | None = None
    subtract_darks: bool = False
    flats: tuple[str, ...] | None = None
    divide_by_flats: bool = False
    orientation: str = AS_STORED
    k_step: float | None = None
    beam_center_names: tuple[str, str] | None = None
    k_step_names: tuple[str, str, str] | None = None

    def role_of(self, stream: str, data_key: str) -> Role:
        """Tell what the images of a stream are."""
        if self.image_keys == ():  # somebody else classifies them
            return Role.LEFT_OUT
        by_name = role_by_name(stream, data_key)
        for role, said in ((Role.DARK, self.darks), (Role.FLAT, self.flats)):
            if by_name is role if said is None else matches(said, stream, data_key):
                return role
        wanted = self.image_keys is None or matches(self.image_keys, stream, data_key)
        return Role.LIGHT if wanted and not matches(self.leave_out, stream, data_key) else Role.LEFT_OUT

    @property
    def corrections(self) -> tuple[Role, ...]:
        """By which images the frames with light are corrected."""
        asked = {Role.DARK: self.subtract_darks, Role.FLAT: self.divide_by_flats}
        return tuple(role for role in asked if asked[role])

    def to_configuration(self) -> dict[str, Any]:
        """Give what stands in the configuration of results; a mask stands there by its SHA-256.

        Values that make no sense are left out: the frames are flagged for them, and the scan goes on.
        """
        center: list[float] = []
        with suppress(TypeError, ValueError):
            center = [] if self.beam_center is None else [float(value) for value in self.beam_center]
        masks = []
        for key, mask in sorted((self.masks or {}).items()):
            with suppress(TypeError, ValueError):
                if mask is not None:
                    masks.append(f"{key} {hash_mask(mask)}")
        return {
            IMAGE_KEYS: list(self.image_keys or ()),
            BEAM_CENTER: center,
            MASKS: masks,
            LEAVE_OUT: list(self.leave_out),
            # None and none are not the same; a table of texts holds no None.
            DARKS: [BY_NAME] if self.darks is None else list(self.darks),
            SUBTRACT_DARKS: int(self.subtract_darks),
            FLATS: [BY_NAME] if self.flats is None else list(self.flats),
            DIVIDE_BY_FLATS: int(self.divide_by_flats),
            ORIENTATION: self.orientation,
            GIVEN_K_STEP: number(self.k_step) or 0.0,
            BEAM_CENTER_NAMES: list(self.beam_center_names or ()),
            K_STEP_NAMES: list(self.k_step_names or ()),
        }

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any]) -> FrameSettings:
        """Give the settings that stand in the configuration of results, all but the masks."""
        image_keys, center = configuration.get(IMAGE_KEYS), configuration.get(BEAM_CENTER)
        names, k_names = (configuration.get(key) for key in (BEAM_CENTER_NAMES, K_STEP_NAMES))
        darks = tuple(configuration.get(DARKS, (BY_NAME,)))
        # Versions that knew of no flat fields gave such images labels.
        flats = tuple(configuration.get(FLATS, () if DARKS in configuration else (BY_NAME,)))
        return cls(
            tuple(image_keys) if image_keys else None,
            (center[0], center[1]) if center else None,
            leave_out=tuple(configuration.get(LEAVE_OUT, ())),
            darks=None if darks == (BY_NAME,) else darks,
            subtract_darks=bool(configuration.get(SUBTRACT_DARKS, 0)),
            flats=None if flats == (BY_NAME,) else flats,
            divide_by_flats=bool(configuration.get(DIVIDE_BY_FLATS, 0)),
            orientation=configuration.get(ORIENTATION) or AS_STORED,
            k_step=configuration.get(GIVEN_K_STEP) or None,
            beam_center_names=(names[0], names[1]) if names else None,
            k_step_names=(k_names[0], k_names[1], k_names[2]) if k_names else None,
        )


@dataclass(frozen=True, eq=False)
class Detector:
    """What is known of the detector behind one image key.

    `data_key` is its name in the stream's documents, `image_key` that in results, `device` that of the object
    that was read. `shape` is that of an event's data as its data key states it. `center_stated`: the
    documents say where the beam is; else it is by the user's settings, or assumed. `k_step_stated`: so it is
    with the wave number per pixel. `geometry` is that of the
    frames as they are stored, which is how they are read; `orientation` is how they are turned for what the
    user says of them.
    """

    image_key: str
    data_key: str
    shape: tuple[int, ...]
    frame_bytes: int
    geometry: FrameGeometry | None
    problem: str
    saturation_level: float | None
    k_step: float | None
    center_assumed: bool
    center_stated: bool = False
    k_step_stated: bool = False
    device: str = ""
    role: Role = Role.LIGHT
    orientation: Orientation = Orientation()

    @property
    def beam_center(self) -> tuple[float, float] | None:
        """Where the beam is (row, column), if anyone said so; else `center_assumed`, or a `problem`."""
        return None if self.geometry is None or self.center_assumed else self.geometry.beam_center

    def count_frames(self, multiplier: int | None = None) -> int:
        """Give the number of frames in an event, see :func:`speckle_plugin.documents.shapes.count_frames`."""
        return count_frames(self.shape, multiplier)


def holds_images(data_key: Mapping[str, Any]) -> bool:
    """Tell whether a data key is one of frames."""
    return is_array(data_key) and not why_no_frames(data_key)


def describe_detector(
    key: str, descriptor: Mapping[str, Any], settings: FrameSettings, stream: str = PRIMARY
) -> Detector:
    """Read what the descriptor of a stream says of the detector whose frames stand under a data key."""
    data_key = descriptor["data_keys"][key]
    name = data_key.get("object_name") or next(
        (obj for obj, keys in descriptor.get("object_keys", {}).items() if key in keys), ""
    )
    configured = descriptor.get("configuration", {}).get(name, {})
    configuration = configured.get("data", {})
    stated = stated_value(configuration, name, BEAM_CENTER_SUFFIX)
    if stated is None and settings.beam_center_names is not None:
        stated = center_by_names(configuration, settings.beam_center_names)
    center = settings.beam_center if stated is None else stated
    k_step = number(stated_value(configuration, name, PITCH_SUFFIX))
    if k_step is None and settings.k_step_names is not None:
        k_step = k_step_by_names(configuration, configured.get("data_keys", {}), settings.k_step_names)
    shape = tuple(data_key["shape"])
    geometry, problem, orientation = None, "", Orientation()
    try:
        mask = (settings.masks or {}).get(key)
        orientation = _orientation(configuration, name, settings)
        if orientation != Orientation():  # what the user says is of the turned frame; the detector's is not
            mask = None if mask is None else orientation.back.turn(np.asarray(mask))
            if stated is None and center is not None:
                center = orientation.back.turn_point(center, orientation.turn_shape(shape[-2:]))
        geometry = FrameGeometry(shape[-2:], ASSUMED_CENTER if center is None else center, mask)
    except (TypeError, ValueError) as error:
        problem = f"{key}: {error}"
    try:
        item_size = np.dtype(data_key.get("dtype_numpy") or "<f8").itemsize
    except TypeError:
        item_size = 8
    return Detector(
        image_key=image_key_of(stream, key),
        data_key=key,
        shape=shape,
        frame_bytes=shape[-2] * shape[-1] * item_size,
        geometry=geometry,
        problem=problem,
        saturation_level=number(stated_value(configuration, name, SATURATION_SUFFIX)),
        k_step=k_step or number(settings.k_step),
        center_assumed=center is None,
        center_stated=stated is not None,
        k_step_stated=k_step is not None,
        device=name,
        role=settings.role_of(stream, key),
        orientation=orientation,
    )


def is_configured_anew(
    key: str, descriptor: Mapping[str, Any], stream: str = PRIMARY, settings: FrameSettings | None = None
) -> bool:
    """Tell whether a detector got another beam centre, k step or saturation level during a stored run.

    Of the settings only the names by which it states its beam centre and k step are of interest.

    Live, each frame is classified with the configuration of its time. The descriptor of a stored stream
    is the first one; `bluesky_tiled_plugins` keeps what later ones changed beside it.
    """
    given = settings or FrameSettings()
    names = FrameSettings(beam_center_names=given.beam_center_names, k_step_names=given.k_step_names)
    before = _stated(key, descriptor, stream, names)
    for update in descriptor.get("_config_updates", ()):
        configuration = {**descriptor.get("configuration", {}), **update.get("configuration", {})}
        if _stated(key, {**descriptor, "configuration": configuration}, stream, names) != before:
            return True
    return False


def _stated(key: str, descriptor: Mapping[str, Any], stream: str, settings: FrameSettings) -> tuple[Any, ...]:
    detector = describe_detector(key, descriptor, settings, stream)
    center = None if detector.geometry is None else detector.geometry.beam_center
    stated = (center, detector.center_assumed, detector.k_step, detector.saturation_level)
    return (*stated, detector.orientation, detector.problem)


def _orientation(configuration: Mapping[str, Any], name: str, settings: FrameSettings) -> Orientation:
    """Give the orientation that a detector states by its name, or else that of the settings.

    Raises
    ------
    ValueError
        If it is none of the eight.
    """
    stated = stated_value(configuration, name, ORIENTATION_SUFFIX)
    wanted = stated if isinstance(stated, str) and stated else settings.orientation
    if wanted not in ORIENTATIONS:
        place = "the settings" if wanted is settings.orientation else f"{name}{ORIENTATION_SUFFIX}"
        raise ValueError(
            f"{place}: there is no orientation {wanted!r}: expected one of {', '.join(ORIENTATIONS)}"
        )
    return ORIENTATIONS[wanted]
