"""What is seen of many simulated frames: statistics, features and logits, to fit on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network import Bundle
from speckle_plugin.network.engines import Engine
from speckle_plugin.network.trust import Look, frame_statistics, masked_share, range_of, views_of
from speckle_plugin.network.trust.spots import SpotMaps, frame_spots
from speckle_plugin.preprocessing import prepare
from training.frames import DrawnFrame, frame_geometry
from training.progress import Report
from training.recipe import FrameRecipe

__all__ = ["Seen", "look_at", "looked_range", "save_part"]

BATCH = 32


class Seen(NamedTuple):
    """What was seen of N frames."""

    look: Look
    groups: NDArray[np.int64]
    """To which each belongs, shape (N,)."""

    disk_numbers: NDArray[np.int64]
    """True ones, shape (N,)."""

    masked: NDArray[np.float64]
    """Share of the pixels that a mask leaves out, shape (N,)."""

    spots: tuple[NDArray[np.float32], ...] = ()
    """For each head that was asked for, shape (N, maps, spots)."""

    @classmethod
    def join(cls, parts: Sequence[Seen]) -> Seen:
        """Put parts together, which have the spots of the same heads."""
        looks, groups, numbers, masked, spots = zip(*parts, strict=True)
        return cls(
            Look(*(np.concatenate(column) for column in zip(*looks, strict=True))),
            np.concatenate(groups),
            np.concatenate(numbers),
            np.concatenate(masked),
            tuple(np.concatenate(of_head) for of_head in zip(*spots, strict=True)),
        )

    def save(self, path: Path) -> None:
        """Write all to a file."""
        named = {**self.look._asdict(), **self._asdict()}
        named |= {f"spots/{place}": of_head for place, of_head in enumerate(self.spots)}
        save_part(path, {name: value for name, value in named.items() if name not in ("look", "spots")})

    @classmethod
    def load(cls, path: Path) -> Seen:
        """Read what :meth:`save` wrote."""
        with np.load(path) as arrays:
            look = Look(*(arrays[name] for name in Look._fields))
            heads = sum(name.startswith("spots/") for name in arrays.files)
            spots = tuple(arrays[f"spots/{place}"] for place in range(heads))
            return cls(look, arrays["groups"], arrays["disk_numbers"], arrays["masked"], spots)


def save_part(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to an .npz file, at once or not at all."""
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, allow_pickle=False, **arrays)
    partial.replace(path)


def looked_range(bundle: Bundle, recipe: FrameRecipe) -> int:
    """Give the rows of the quadrants of a recipe's frames that are looked at.

    Raises
    ------
    ValueError
        If the recipe's frames have too few pixels.
    """
    size = range_of(frame_geometry(recipe), bundle.preprocessing)
    if size is None:
        raise ValueError(
            f"frames of {recipe.size} pixels are too small to tell odd ones: expected 129 or more"
        )
    return size


def look_at(
    bundle: Bundle,
    engine: Engine,
    frames: Iterable[tuple[int, DrawnFrame]],
    size: int,
    report: Report | None = None,
    done: int = 0,
    total: int = 0,
    maps: Sequence[SpotMaps] = (),
    what: str = "calibrate",
) -> Seen:
    """Look at frames.

    Parameters
    ----------
    bundle : Bundle
    engine : Engine
        Runs its network. What stands in a trust file is not asked for: it may be of another version.
    frames : iterable of (group, DrawnFrame)
    size : int
        Rows of the quadrants that are looked at.
    report : callable, optional
        Told of the progress.
    done, total : int
        Frames before these, and of all, for the report.
    maps : sequence of SpotMaps, optional
        Of each of these the spots are looked at, too: see
        :func:`speckle_plugin.network.trust.spots.frame_spots`.
    what : str
        What is done with them, for the report.
    """
    settings = bundle.preprocessing
    statistics: list[NDArray[np.float32]] = []
    features: list[NDArray[np.floating]] = []
    logits: list[NDArray[np.floating]] = []
    spots: list[list[NDArray[np.float32]]] = [[] for _ in maps]
    groups: list[int] = []
    numbers: list[int] = []
    masked: list[float] = []
    for chunk in _chunks(frames):
        inputs = [prepare(drawn.frame, settings, drawn.geometry)[0] for _, drawn in chunk]
        for (group, drawn), given in zip(chunk, inputs, strict=True):
            views = views_of(drawn.geometry, settings, size)
            statistics.append(frame_statistics(drawn.frame, given, views))
            for of_head, of_maps in zip(spots, maps, strict=True):
                of_head.append(frame_spots(drawn.frame, statistics[-1], drawn.geometry, settings, of_maps))
            groups.append(group)
            numbers.append(drawn.disk_number)
            masked.append(masked_share(views))
        output = engine.run(np.concatenate(inputs))
        features.append(output.features.reshape(len(chunk), -1, output.features.shape[1]).mean(axis=1))
        logits.append(output.logits.reshape(len(chunk), -1, output.logits.shape[1]))
        if report:
            report(what, done + len(groups), total, {})
    look = Look(np.stack(statistics), np.concatenate(features), np.concatenate(logits))
    columns = np.array(groups), np.array(numbers), np.array(masked)
    return Seen(look, *columns, tuple(np.stack(of_head) for of_head in spots))


def _chunks(frames: Iterable[tuple[int, DrawnFrame]]) -> Iterator[list[tuple[int, DrawnFrame]]]:
    remaining = iter(frames)
    while chunk := list(itertools.islice(remaining, BATCH)):
        yield chunk
