"""What is seen of many simulated frames: statistics, features and logits, to fit on."""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from speckle_plugin.network import Bundle
from speckle_plugin.network.engines import Engine, make_engine
from speckle_plugin.network.trust import Look, frame_statistics, masked_share, range_of, views_of
from speckle_plugin.network.trust.spots import SpotMaps, frame_spots
from speckle_plugin.preprocessing import prepare
from training.frames import DrawnFrame, frame_geometry
from training.parts import in_processes, save_part
from training.progress import Report
from training.recipe import FrameRecipe

__all__ = ["Part", "Seen", "look_at", "look_at_parts", "looked_range"]

BATCH = 32

ALONE = 3000
"""So many frames are looked at before processes that share them would have begun."""


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
        """Write all to a file, at once or not at all."""
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


@dataclass(frozen=True, eq=False)
class Part:
    """Frames that are looked at, and kept, together.

    Parameters
    ----------
    name : str
        Of its file.
    count : int
    draw : callable
        Gives so many pairs of a group and a frame; it can be pickled.
    """

    name: str
    count: int
    draw: Callable[[], Iterator[tuple[int, DrawnFrame]]]


def look_at_parts(
    bundle: Bundle,
    parts: Sequence[Part],
    size: int,
    folder: Path | None = None,
    report: Report | None = None,
    maps: Sequence[SpotMaps] = (),
    what: str = "calibrate",
) -> Seen:
    """Look at frames, part by part, in several processes if there are many.

    Parameters
    ----------
    bundle : Bundle
        What stands in a trust file is not asked for: it may be of another version.
    parts : sequence of Part
    size : int
        Rows of the quadrants that are looked at.
    folder : path, optional
        Keeps what was seen; parts that are there are taken from it.
    report : callable, optional
        Told of the progress.
    maps : sequence of SpotMaps, optional
        Of each of these the spots are looked at, too: see
        :func:`speckle_plugin.network.trust.spots.frame_spots`.
    what : str
        What is done with them, for the report.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="speckle-looks-") as passing:
            return look_at_parts(bundle, parts, size, Path(passing), report, maps, what)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {part: folder / f"{part.name}.npz" for part in parts}
    missing = [(part, path) for part, path in paths.items() if not path.exists()]
    total = sum(part.count for part in parts)
    done = total - sum(part.count for part, _ in missing)

    def tell(more: int) -> None:
        if report:
            report(what, done + more, total, {})

    if total - done > ALONE:
        begin = functools.partial(_begin, bundle, size, maps)
        for part, _ in in_processes(_look_in_process, missing, begin):
            done += part.count
            tell(0)
    elif missing:
        engine = make_engine(bundle)
        for part, path in missing:
            look_at(bundle, engine, part.draw(), size, maps, tell).save(path)
            done += part.count
    return Seen.join([Seen.load(path) for path in paths.values()])


_begun: list[tuple[Bundle, Engine, int, Sequence[SpotMaps]]] = []
"""What a process that looks at parts was begun with: a network is not sent with each part."""


def _begin(bundle: Bundle, size: int, maps: Sequence[SpotMaps]) -> None:
    threadpool_limits(1)
    _begun.append((bundle, make_engine(bundle), size, maps))


def _look_in_process(job: tuple[Part, Path]) -> None:
    (bundle, engine, size, maps), (part, path) = _begun[0], job
    look_at(bundle, engine, part.draw(), size, maps).save(path)


def look_at(
    bundle: Bundle,
    engine: Engine,
    frames: Iterable[tuple[int, DrawnFrame]],
    size: int,
    maps: Sequence[SpotMaps] = (),
    tell: Callable[[int], None] | None = None,
) -> Seen:
    """Look at frames.

    Parameters
    ----------
    bundle, size, maps
        As of :func:`look_at_parts`.
    engine : Engine
        Runs its network.
    frames : iterable of (group, DrawnFrame)
    tell : callable, optional
        Told how many have been looked at.
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
        if tell:
            tell(len(groups))
    look = Look(np.stack(statistics), np.concatenate(features), np.concatenate(logits))
    columns = np.array(groups), np.array(numbers), np.array(masked)
    return Seen(look, *columns, tuple(np.stack(of_head) for of_head in spots))


def _chunks(frames: Iterable[tuple[int, DrawnFrame]]) -> Iterator[list[tuple[int, DrawnFrame]]]:
    remaining = iter(frames)
    while chunk := list(itertools.islice(remaining, BATCH)):
        yield chunk
