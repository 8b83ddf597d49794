"""Settings in one place: from arguments, the environment (`SPECKLE_...`), and a file; the first that says it.

Session, profile, worker and commands read them by `read_settings`, so that each works with the same data,
network, mask and beam centre. A value that makes no sense is one error, in one line, which names where the
value stands. The file is TOML: `$SPECKLE_SETTINGS`, or else `~/.config/speckle/settings.toml`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic_core
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from speckle_plugin.schema import Asked, OrientationName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from speckle_plugin.documents.descriptors import FrameSettings
    from speckle_plugin.store import Store

__all__ = [
    "OTHER_VARIABLES",
    "PREFIX",
    "Settings",
    "SettingsError",
    "check_frames",
    "read_settings",
    "settings_file",
]

PREFIX = "SPECKLE_"

OTHER_VARIABLES = {
    "SPECKLE_SETTINGS": "the file of settings; empty for none",
    "SPECKLE_MONITOR_KEY": "the key of the monitor's page; without it a new one at each start",
    "SPECKLE_SERVER_IDLE": "seconds that the server of a data directory stays after its last user has left",
    "SPECKLE_DETECTOR": "the simulated detector of the IPython profile: ophyd or ophyd-async",
    "SPECKLE_SERVER_WITHOUT": "what a server leaves out, for benchmarks",
    "SPECKLE_SHARED": "the folder of the published frames, for tests",
}
"""Variables of the environment that are no settings of a session."""


class SettingsError(ValueError):
    """A setting is wrong; the message says which, where it stands, and what was expected."""


def _split(value: Any) -> Any:
    """Take `a,b` for a list, as variables of the environment have it."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _masks(value: Any) -> Any:
    """Take `KEY=PATH,KEY=PATH` for a table, and a path alone for one mask."""
    if isinstance(value, str) and "=" in value:
        pairs = (part.partition("=") for part in value.split(","))
        return {key.strip(): path.strip() for key, _, path in pairs}
    return value


class Settings(BaseSettings):
    """What a session, a worker and the commands go by.

    Attributes
    ----------
    data : Path
        The data directory: frames, the server's files, journals.
    server : str or None
        Address or Tiled profile of a server that keeps the runs instead; `data` then holds the frames, which
        that server must see under the same path, and the journals. Its key is in the profile, or in
        `TILED_API_KEY`: never here.
    frame_folders : tuple of Path
        Folders beside the data directory's own `frames` in which detectors write, so that its server may read
        them; with `server`, those that that one reads, too.
    profile : str or None
        Tiled profile that sessions write, for databroker.
    model : str or None
        Name of a shipped network, or the path of a bundle; None where the k step of the detector chooses.
    engine : {"auto", "openvino", "tensorflow", "onnxruntime", "none"}
        What computes the network. With "none" a session stores its runs only: a worker classifies them.
    image_keys : tuple of str or None
        Data keys of the frames to classify; None for all.
    beam_center : (row, column) or None
        In pixels, for detectors that do not state it.
    beam_center_names : (str, str) or None
        Configuration attributes of detectors that hold row and column of the beam, where there is no
        `NAME_beam_center`; `*` stands for anything.
    k_step_names : (str, str, str) or None
        Configuration attributes of detectors that hold wavelength, distance from the sample, and size of a
        pixel, where there is no `NAME_pitch`: the k step is worked out from them, in 1/nm.
    k_step : float or None
        Wave number per pixel, in the inverse of the unit of the sample's lengths, for detectors that do not
        state it.
    geometry : Path or None
        A PONI or NeXus file that says beam centre and k step, where `beam_center` and `k_step` do not.
    mask : Path, mapping of data key to Path, or None
        Files of masks; a single one is for all `image_keys`, which must then be given.
    mask_polarity : {"left-out", "used"}
        What a 1 of a mask says of its pixel.
    leave_out : tuple of str
        Images that are not to be classified: a stream, a data key, or `STREAM/KEY`; `*` stands for anything.
    darks : tuple of str or None
        Images that are dark frames, in the same way; None for those that are called dark.
    subtract_darks : bool
        Whether the newest dark frame of a detector is subtracted from its frames.
    flats : tuple of str or None
        Images that are flat fields, in the same way; None for those that are called flat.
    divide_by_flats : bool
        Whether frames are divided by the newest flat field of their detector.
    orientation : str
        How frames are turned so that they stand as mask and beam centre do.
    second_opinion : {"none", "unsure", "all"}
        Of which frames the disks are computed beside the network.
    table : bool
        Whether sessions print a row for each frame.
    live_figure : {"auto", "window", "inline", "none"}
        Where sessions draw the newest frame and the results: `auto` is a window in IPython where there is a
        display, the output in Jupyter, and none in scripts and workers.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, protected_namespaces=()
    )

    data: Path = Path("~/speckle-data")
    server: str | None = None
    frame_folders: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)] = ()
    profile: str | None = None
    model: str | None = None
    engine: Literal["auto", "openvino", "tensorflow", "onnxruntime", "none"] = "auto"
    image_keys: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_split)] = None
    beam_center: Annotated[tuple[float, float] | None, NoDecode, BeforeValidator(_split)] = None
    beam_center_names: Annotated[tuple[str, str] | None, NoDecode, BeforeValidator(_split)] = None
    k_step_names: Annotated[tuple[str, str, str] | None, NoDecode, BeforeValidator(_split)] = None
    k_step: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    geometry: Path | None = None
    mask: Annotated[Path | dict[str, Path] | None, NoDecode, BeforeValidator(_masks)] = None
    mask_polarity: Literal["left-out", "used"] = "left-out"
    leave_out: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    darks: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_split)] = None
    subtract_darks: bool = False
    flats: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_split)] = None
    divide_by_flats: bool = False
    orientation: OrientationName = "as-stored"
    second_opinion: Asked = "none"
    table: bool = True
    live_figure: Literal["auto", "window", "inline", "none"] = "auto"

    @field_validator("data")
    @classmethod
    def _expand(cls, path: Path) -> Path:
        return path.expanduser()

    @field_validator("frame_folders")
    @classmethod
    def _absolute(cls, folders: tuple[Path, ...]) -> tuple[Path, ...]:
        expanded = tuple(folder.expanduser() for folder in folders)
        for folder in expanded:
            if not folder.is_absolute() or folder == Path(folder.anchor):
                raise ValueError(f"{folder} must be a whole path, such as /detector/frames, and not / itself")
        return expanded

    @field_validator("beam_center")
    @classmethod
    def _finite(cls, center: tuple[float, float] | None) -> tuple[float, float] | None:
        if center is not None and not all(map(math.isfinite, center)):
            raise ValueError("expected two finite numbers, row and column in pixels")
        return center

    @field_validator("geometry")
    @classmethod
    def _is_file(cls, path: Path | None) -> Path | None:
        expanded = None if path is None else path.expanduser()
        if expanded is not None and not expanded.is_file():
            raise ValueError(f"there is no file {expanded}")
        return expanded

    @field_validator("mask")
    @classmethod
    def _there(cls, mask: Path | dict[str, Path] | None) -> Path | dict[str, Path] | None:
        named = mask if isinstance(mask, dict) else {"": mask} if mask is not None else {}
        expanded = {key: path.expanduser() for key, path in named.items()}
        for path in expanded.values():
            if not path.is_file():
                raise ValueError(f"there is no file {path}")
        return expanded if isinstance(mask, dict) else expanded.get("")

    @model_validator(mode="after")
    def _masks_fit(self) -> Settings:
        if self.image_keys is not None and isinstance(self.mask, dict):
            unknown = sorted(self.mask.keys() - set(self.image_keys))
            if unknown:
                raise ValueError(f"mask names {', '.join(unknown)}, which image_keys leaves out")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Give the sources, the strongest first."""
        path = settings_file()
        return (init_settings, env_settings, *([] if path is None else [_File(settings_cls, path)]))

    def frames(self) -> FrameSettings:
        """Read the masks, and give what the settings say of frames.

        Raises
        ------
        SettingsError
            If a mask can't be read, or looks inverted, or nothing says whose it is.
        """
        from speckle_plugin.documents.descriptors import FrameSettings

        center, k_step = self.read_beam()
        masks = self.read_masks()
        if isinstance(self.mask, Path):
            if self.image_keys is None:
                raise SettingsError(
                    f"mask = {self.mask} does not say for which detector it is: give image_keys, or a "
                    'table: mask = {det_image = "mask.npy"}; in the environment SPECKLE_MASK=det_image=PATH'
                )
            masks = dict.fromkeys(self.image_keys, *masks.values())
        return FrameSettings(
            self.image_keys,
            center,
            masks or None,
            self.leave_out,
            self.darks,
            self.subtract_darks,
            self.flats,
            self.divide_by_flats,
            self.orientation,
            k_step,
            self.beam_center_names,
            self.k_step_names,
        )

    def read_beam(self) -> tuple[tuple[float, float] | None, float | None]:
        """Give beam centre and k step, as far as the settings state them, by the file `geometry` too.

        Raises
        ------
        SettingsError
            If the file can't be used.
        """
        if self.geometry is None:
            return self.beam_center, self.k_step
        from speckle_plugin.frames.geometry_file import read_geometry

        if self.beam_center is None and self.orientation != "as-stored":
            raise SettingsError(
                f"geometry = {self.geometry} says where the beam is on frames as they are stored, and "
                f'orientation = "{self.orientation}" turns them: give beam_center as well, of turned frames'
            )
        try:
            described = read_geometry(self.geometry)
        except (ValueError, OSError) as error:
            raise SettingsError(f"the setting geometry = {self.geometry} can't be used: {error}") from error
        return self.beam_center or described.beam_center, self.k_step or described.k_step

    def read_masks(self) -> dict[str, NDArray[np.bool_]]:
        """Read the masks by data key; a single one by its path.

        Raises
        ------
        SettingsError
            If one can't be read, or looks inverted.
        """
        from speckle_plugin.frames.masks import looks_inverted, read_mask

        files = {str(self.mask): self.mask} if isinstance(self.mask, Path) else self.mask or {}
        masks = {}
        for name, path in files.items():
            try:
                masks[name] = read_mask(path, self.mask_polarity)
            except (ValueError, OSError) as error:
                raise SettingsError(f"the mask {path} of the settings can't be used: {error}") from error
            if looks_inverted(masks[name]):
                other = "used" if self.mask_polarity == "left-out" else "left-out"
                raise SettingsError(
                    f"the mask {path} of the settings leaves out {masks[name].mean():.0%} of the pixels: it "
                    f'looks inverted: set mask_polarity = "{other}"'
                )
        return masks

    def open_store(self, meanwhile: Callable[[], object] = lambda: None) -> Store:
        """Open the data directory, or connect to the server.

        Parameters
        ----------
        meanwhile : callable
            Called while the server of a data directory starts, if it has to.

        Raises
        ------
        StorageError
            If it can't be opened.
        """
        from speckle_plugin.store import TiledStore, connect

        if self.server is not None:
            return connect(self.server, directory=self.data, frame_folders=self.frame_folders)
        return TiledStore(self.data, meanwhile=meanwhile, frame_folders=self.frame_folders)


class _File(TomlConfigSettingsSource):
    """The file of settings; relative paths in it are meant from its folder."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path) -> None:
        try:
            super().__init__(settings_cls, path)
        except (OSError, ValueError) as error:  # a TOMLDecodeError is a ValueError
            raise SettingsError(f"the file of settings {path} can't be read: {error}") from error
        folder = path.parent.resolve()

        def beside(value: Any) -> Any:
            return str(folder / Path(value).expanduser()) if isinstance(value, str) else value

        said: dict[str, Any] = self.init_kwargs
        if "data" in said:
            said["data"] = beside(said["data"])
        if "geometry" in said:
            said["geometry"] = beside(said["geometry"])
        if isinstance(mask := said.get("mask"), dict):
            said["mask"] = {key: beside(value) for key, value in mask.items()}
        elif mask is not None:
            said["mask"] = beside(mask)
        if isinstance(model := said.get("model"), str) and model.endswith(".bundle"):
            said["model"] = beside(model)


def settings_file() -> Path | None:
    """Give the file of settings; None if there is none.

    Raises
    ------
    SettingsError
        If `SPECKLE_SETTINGS` names a file that is not there.
    """
    named = os.environ.get("SPECKLE_SETTINGS")
    if named is not None:
        if not named:
            return None
        path = Path(named).expanduser()
        if not path.is_file():
            raise SettingsError(f"SPECKLE_SETTINGS names {path}, and there is no such file")
        return path
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    path = Path(folder).expanduser() / "speckle" / "settings.toml"
    return path if path.is_file() else None


def read_settings(**arguments: Any) -> Settings:
    """Put the settings together.

    Parameters
    ----------
    **arguments
        Settings that are stated here and now; those that are None are not. A data directory that is given
        alone means the runs in it: a server of environment or file is then not used.

    Raises
    ------
    SettingsError
        If any of them is wrong.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    if "data" in given and "server" not in given:
        given["server"] = None
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_line(problem, given) for problem in _first_of_each(error))) from error


def _first_of_each(error: ValidationError) -> list[pydantic_core.ErrorDetails]:
    """Leave out what pydantic says of the other types that a setting may have."""
    problems: dict[Any, pydantic_core.ErrorDetails] = {}
    for problem in error.errors(include_url=False):
        problems.setdefault(problem["loc"][:1], problem)
    return list(problems.values())


def _line(problem: pydantic_core.ErrorDetails, given: Mapping[str, Any]) -> str:
    if not problem["loc"]:
        return problem["msg"].removeprefix("Value error, ")
    name = str(problem["loc"][0])
    if name in given:
        place, value = "", given[name]
    elif (PREFIX + name.upper()) in os.environ:
        variable = PREFIX + name.upper()
        place, value = f" (environment: {variable})", os.environ[variable]
    else:
        place, value = f" ({settings_file()})", problem["input"]
    if problem["type"] == "extra_forbidden":
        return f"there is no setting {name!r}{place}: expected one of {', '.join(Settings.model_fields)}"
    wanted = {
        "beam_center": "ROW,COLUMN in pixels, such as 256,255.5",
        "beam_center_names": "two names, of row and column, such as *_cam_beam_y,*_cam_beam_x",
        "k_step_names": "three names, of wavelength, distance and pixel size, such as *_wavelength,"
        "*_det_distance,*_x_pixel_size",
        "image_keys": "a list of data keys, such as det_image",
        "leave_out": "a list of streams or data keys, such as baseline",
        "darks": "a list of streams or data keys, such as dark",
        "flats": "a list of streams or data keys, such as flat",
    }.get(name, problem["msg"].removeprefix("Value error, "))
    return f"the setting {name} = {str(value)!r}{place} can't be used: {wanted}"


def check_frames(frames: FrameSettings) -> FrameSettings:
    """See that what a user says of frames makes sense, before the first one comes.

    Raises
    ------
    SettingsError
        If it does not.
    """
    import numpy as np

    from speckle_plugin.preprocessing.orientation import ORIENTATIONS

    keys, center, masks = frames.image_keys, frames.beam_center, frames.masks
    for name in ("image_keys", "leave_out", "darks", "flats"):
        names = getattr(frames, name)
        if names is not None and (isinstance(names, str) or not all(isinstance(key, str) for key in names)):
            raise SettingsError(f"{name} must be a tuple of names such as ('det_image',), not {names!r}")
    if frames.orientation not in ORIENTATIONS:
        raise SettingsError(
            f"orientation must be one of {', '.join(ORIENTATIONS)}, not {frames.orientation!r}"
        )
    if center is not None:
        try:
            row, column = (float(value) for value in center)
        except (TypeError, ValueError):
            row = column = math.nan
        if not (math.isfinite(row) and math.isfinite(column)):
            raise SettingsError(f"beam_center must be (row, column) in pixels, not {center!r}")
    if frames.k_step is not None and not _is_positive(frames.k_step):
        raise SettingsError(f"k_step must be a positive wave number per pixel, not {frames.k_step!r}")
    if masks is None:
        return frames
    if not isinstance(masks, Mapping):
        raise SettingsError(
            f"masks must say for which data key each is, such as {{'det_image': mask}}; a "
            f"{type(masks).__name__} alone does not"
        )
    for key, mask in masks.items():
        if keys is not None and key not in keys:
            raise SettingsError(f"masks names {key!r}, which image_keys leaves out")
        values = None if mask is None else np.asarray(mask)
        if values is not None and (values.ndim != 2 or values.dtype.kind not in "biu"):
            raise SettingsError(
                f"the mask of {key!r} must be an array of bool with rows and columns, True where a pixel is "
                f"left out; it is {values.dtype} of the shape {values.shape}"
            )
    return frames


def _is_positive(value: Any) -> bool:
    try:
        return math.isfinite(float(value)) and float(value) > 0
    except (TypeError, ValueError):
        return False
