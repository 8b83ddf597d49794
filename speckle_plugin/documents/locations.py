"""Where a Resource or StreamResource says that frames are: one file, or a file for each few of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlparse

__all__ = ["Location", "locate"]

DEFAULT_DATASET = "/entry/data/data"
"""Where AreaDetector's HDF5 plugin puts frames, unless the resource says otherwise."""


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
        Names of the datasets with frames, and with their times.
    multiplier : int or None
        Frames in an event, where it is stated.
    template : str
        Names the files, `{:06d}.tiff`; empty for one file.
    frames_per_file : int
        Counts with a template only.
    """

    data_key: str
    path: str
    dataset: str
    timestamps: str
    multiplier: int | None
    template: str = ""
    frames_per_file: int = 1

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
