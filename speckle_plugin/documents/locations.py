"""Where a Resource or StreamResource says that frames are: one file, or a file for each few of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlparse

__all__ = ["EIGER_SLICE", "EIGER_SPECS", "Location", "locate", "master_path"]

DEFAULT_DATASET = "/entry/data/data"
"""Where AreaDetector's HDF5 plugin puts frames, unless the resource says otherwise."""

EIGER_SLICE = "AD_EIGER_SLICE"
"""Spec of resources of an Eiger whose datums name one frame of a series each, by `frame_num`."""

EIGER_SPECS = ("AD_EIGER", "AD_EIGER2", EIGER_SLICE)
"""Specs of resources with a master for each series. Source: area_detector_handlers.eiger, and NSLS-II's
profile collections."""


@dataclass(frozen=True)
class Location:
    """What a resource says.

    Parameters
    ----------
    data_key : str
        Of a StreamResource; empty of a Resource.
    path : str
        Of the file; with a template, what the names of the files begin with.
    dataset, timestamps : str
        Names of the datasets with frames, and with their times; an empty one is to be found.
    multiplier : int or None
        Frames in an event, where it is stated.
    template : str
        Names the files, `{:06d}.tiff`; empty for one file.
    frames_per_file : int
        Counts with a template only.
    is_series : bool
        Each datum names a master of its own, `PATH_N_master.h5`, by its `seq_id`: Dectris' Eigers.
    """

    data_key: str
    path: str
    dataset: str
    timestamps: str
    multiplier: int | None
    template: str = ""
    frames_per_file: int = 1
    is_series: bool = False

    def of_datum(self, datum_kwargs: Mapping[str, Any]) -> Location:
        """Give where the frames of a datum are, by its `datum_kwargs`.

        Raises
        ------
        KeyError
            If it does not say which master it means.
        """
        if not self.is_series:
            return self
        return replace(self, path=master_path(self.path, datum_kwargs["seq_id"]), is_series=False)

    def find(self, index: int) -> tuple[str, int]:
        """Give the file of a frame, and its index there."""
        if not self.template:
            return self.path, index
        number, row = divmod(index, self.frames_per_file)
        return self.path + self.template.format(number), row


def locate(resource: Mapping[str, Any]) -> Location:
    """Read a Resource or StreamResource."""
    if "uri" in resource:
        parameters = resource.get("parameters", {})
        path = unquote(urlparse(resource["uri"]).path)
    else:
        parameters = resource.get("resource_kwargs", {})
        path = os.path.join(resource.get("root", ""), resource["resource_path"])
    template = parameters.get("template") or ""
    if "%" in template:
        # AreaDetector's `%s%s_%6.6d.h5`, of folder, name, number; the resource's path is the folder.
        path = os.path.join(path, "")
        template = _modern(template, parameters.get("filename", ""))
    if resource.get("spec") in EIGER_SPECS:
        return _eiger(path, resource["spec"], parameters)
    chunk: Sequence[int] = parameters.get("chunk_shape") or ()
    multiplier = parameters.get("multiplier") or parameters.get("frame_per_point")
    return Location(
        data_key=resource.get("data_key", ""),
        path=path,
        dataset=parameters.get("dataset") or parameters.get("path") or DEFAULT_DATASET,
        timestamps=parameters.get("timestamps") or "",
        multiplier=None if multiplier is None else int(multiplier),
        template=template.lstrip("/") if path.endswith("/") else template,
        frames_per_file=int(chunk[0]) if len(chunk) in (1, 3) else 1,
    )


def _eiger(path: str, spec: str, parameters: Mapping[str, Any]) -> Location:
    """Give the masters of an Eiger; the name of the dataset is found in each, firmwares differ in it."""
    count = parameters.get("frame_per_point") or parameters.get("images_per_file")
    multiplier = None if count is None or spec == EIGER_SLICE else int(count)
    return Location("", path, "", "", multiplier, is_series=True)


def master_path(prefix: str, seq_id: Any) -> str:
    """Give the path of the master that Dectris' file writer makes for a series."""
    return f"{prefix}_{seq_id}_master.h5"


def _modern(template: str, filename: str) -> str:
    """Write a template of C for `str.format`: its strings are the name, then nothing; one number is left."""
    strings = template.count("%s")
    head, _, tail = template.rpartition("%")
    digits, kind, rest = tail.partition("d")
    if not strings or not kind:
        raise ValueError(
            f"expected a template such as '%s%s_%6.6d.h5', of a name and a number, not {template!r}"
        )
    width = digits.rpartition(".")[2].strip("-+ #") or "1"
    named = head.replace("%s", filename.replace("%", "%%"), 1).replace("%s", "").replace("%%", "%")
    return f"{_escaped(named)}{{:0{int(width)}d}}{_escaped(rest)}"


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
