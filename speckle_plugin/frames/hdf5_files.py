"""HDF5 files of one folder: a file, and those beside it that it links to, never one from elsewhere.

The rule: what a file takes from another one (external link, virtual dataset) is read if that
other file lies in the same folder, after symbolic links are followed; anything else is
refused, and so is raw data outside of HDF5. A file that came from somewhere else could
otherwise show what only its reader may read. HDF5's own search for linked files (environment
variables, working directory) is not used for links.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from speckle_plugin.frames.source import FrameFileError

__all__ = ["HDF5Files"]

MOST_LINKS = 32
"""Soft and external links, and virtual datasets of virtual datasets, that are followed for one name."""

MOST_OBJECTS = 5000
"""Objects of a file that are looked at in search of frames."""

FIRST_FILTER_OF_OTHERS = 256
"""From this number on, a compression filter is no part of HDF5."""

SWMR_ADVICE = (
    "close it there, or let the detector write in SWMR mode (AreaDetector: SWMRMode on before the capture, "
    "NumFramesFlush 1)"
)


class HDF5Files:
    """An open HDF5 file, whose names are followed through links by the rule of this module.

    Parameters
    ----------
    path : path
        Of the file. While another process writes it in SWMR mode it is opened as such.

    Raises
    ------
    FrameFileError
        If it can't be opened; `not_yet` where another process has it open, or it is truncated.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.realpath(path)
        self._folder = os.path.dirname(self.path)
        self._files: dict[str, h5py.File] = {self.path: _open(self.path)}
        self.refused: list[FrameFileError] = []

    @property
    def root(self) -> h5py.File:
        """The file itself."""
        return self._files[self.path]

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()

    def find(self, name: str, root: h5py.File | None = None) -> Any:
        """Give the group or dataset of a name.

        Parameters
        ----------
        name : str
        root : h5py.File, optional
            Where to begin; by default in the file itself.

        Raises
        ------
        KeyError
            If there is none.
        FrameFileError
            If a link leads to another folder, or to a file that is not there.
        """
        node: Any = (root or self.root)["/"]
        todo = _parts(name)
        hops = 0
        while todo:
            part = todo.pop(0)
            if not isinstance(node, h5py.Group) or not node.id.links.exists(part.encode()):
                raise KeyError(f"no {name!r} in {self.path}")
            kind = node.id.links.get_info(part.encode()).type
            if kind == h5py.h5l.TYPE_HARD:
                node = node[part]
                continue
            hops += 1
            if hops > MOST_LINKS:
                raise FrameFileError(f"{self.path}: the links of {name!r} lead round in circles")
            value = node.id.links.get_val(part.encode())
            if kind == h5py.h5l.TYPE_SOFT:
                target = value.decode()
                node = node.file["/"] if target.startswith("/") else node
            elif kind == h5py.h5l.TYPE_EXTERNAL:
                file, target = (os.fsdecode(text) for text in value)
                node = self._beside(file)["/"]
            else:
                raise FrameFileError(f"{self.path}: {name!r} is a link of a kind that is not known")
            todo = _parts(target) + todo
        return node

    def dataset(self, name: str) -> Any:
        """Give a dataset that can be read.

        Raises
        ------
        KeyError
            If there is none.
        FrameFileError
            If it takes its values from another folder, or is compressed by a filter that is not there.
        """
        node = self.find(name)
        if not isinstance(node, h5py.Dataset):
            raise KeyError(f"{name!r} in {self.path} is no dataset")
        self.check(node)
        return node

    def check(self, dataset: Any, depth: int = 0) -> None:
        """See that a dataset can be read, and by the rule of this module may be.

        Raises
        ------
        FrameFileError
            As :meth:`dataset`.
        """
        where = f"the dataset {dataset.name!r} of {dataset.file.filename}"
        if depth > MOST_LINKS:
            raise FrameFileError(f"{where} is made of virtual datasets that lead round in circles")
        if dataset.external:
            raise FrameFileError(
                f"{where} keeps its values in {dataset.external[0][0]!r}, which is no HDF5 file: not followed"
            )
        if dataset.is_virtual:
            for file, source in sorted({(s.file_name, s.dset_name) for s in dataset.virtual_sources()}):
                for name in [file] if "%b" not in file else self._numbered(file):
                    root = dataset.file if name == "." else self._beside(name)
                    try:
                        node = self.find(source, root)
                    except KeyError:
                        # HDF5 would give zeros in its place.
                        raise FrameFileError(
                            f"{where} is made of {source!r} in {name}, which is not there"
                        ) from None
                    if isinstance(node, h5py.Dataset):
                        self.check(node, depth + 1)
        _check_filters(dataset, where)

    def walk(self, name: str = "/") -> Iterator[tuple[str, Any]]:
        """Go through the datasets below a group, each once, with the name under which it is first met.

        What can't be followed is passed by, for a reason in `refused`. After some thousand objects it ends.
        """
        seen: set[Any] = set()
        waiting = [name.rstrip("/")]
        while waiting and len(seen) < MOST_OBJECTS:
            here = waiting.pop(0)
            try:
                node = self.find(here)
            except KeyError:
                continue
            except FrameFileError as error:
                self.refused.append(error)
                continue
            if node.id in seen:
                continue
            seen.add(node.id)
            if isinstance(node, h5py.Group):
                waiting += [f"{here}/{child}" for child in itertools.islice(node, MOST_OBJECTS)]
            elif isinstance(node, h5py.Dataset):
                yield here.lstrip("/"), node

    def _numbered(self, pattern: str) -> list[str]:
        """Give the files of a virtual dataset whose names are numbered, as far as they are there."""
        names = (pattern.replace("%b", str(i)) for i in itertools.count())
        return list(itertools.takewhile(lambda n: os.path.exists(os.path.join(self._folder, n)), names))

    def _beside(self, name: str) -> h5py.File:
        """Open a file that another one names, if it lies in the same folder."""
        path = os.path.realpath(os.path.join(self._folder, name))
        if os.path.isabs(name) and not os.path.exists(path):
            # The folder may have been moved, and the file with it.
            path = os.path.realpath(os.path.join(self._folder, os.path.basename(name)))
        if os.path.dirname(path) != self._folder:
            raise FrameFileError(
                f"{self.path} takes its frames from {name}, in another folder: that is not followed; copy "
                "both into one folder, or give the other file"
            )
        if path not in self._files:
            if not os.path.isfile(path):
                raise FrameFileError(
                    f"{os.path.basename(path)} is not there, from which {self.path} takes frames: put it "
                    "into the same folder",
                    not_yet=True,
                )
            self._files[path] = _open(path)
        return self._files[path]


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _open(path: str) -> h5py.File:
    """Open a file, as one of SWMR mode where it opens as such only.

    That is while another process writes it so, or after that was killed.
    """
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise FrameFileError(f"no file {path}", not_yet=True) from None
    except PermissionError:
        raise FrameFileError(f"{path} may not be read by you: see its permissions") from None
    except OSError as error:
        reason = str(error)
    try:
        return h5py.File(path, "r", libver="latest", swmr=True)
    except OSError:
        raise _why_closed(path, reason) from None


def _why_closed(path: str, reason: str) -> FrameFileError:
    """Say why HDF5 does not open a file; each reason may pass."""
    if "unable to lock" in reason or "already open for" in reason:
        why = f"{path} is open for writing in another program, without SWMR: {SWMR_ADVICE}"
        return FrameFileError(why, in_use=True)
    if "truncated" in reason:
        size = Path(path).stat().st_size
        why = f"{path} is truncated: it ends after {size} bytes, before its data do; copy it again"
        return FrameFileError(why, not_yet=True)
    return FrameFileError(f"{path} is damaged, HDF5 can't open it: {reason}", not_yet=True)


def _check_filters(dataset: Any, where: str) -> None:
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if code < FIRST_FILTER_OF_OTHERS or h5py.h5z.filter_avail(code):
            continue
        import hdf5plugin  # noqa: F401  registers its filters; half a second, so only where it is needed

        if not h5py.h5z.filter_avail(code):
            title = name.decode(errors="replace").strip() or "without a name"
            raise FrameFileError(
                f"{where} is compressed by filter {code} ({title}), which hdf5plugin does not bring: write "
                "it with another one, or set HDF5_PLUGIN_PATH to the folder of that filter"
            )
