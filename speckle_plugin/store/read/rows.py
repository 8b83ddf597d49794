"""The rows of a stream that belong to given frames: truth, positions, and the image array.

Only `frames` uses this module. Results name a frame by its index, counted from 0 over all
frames of an image key in its stream; a row of the stream holds one event, which may have
taken several frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.schema import PRIMARY, STREAMED_TRUTH_SUFFIX, TRUTH_SUFFIX, split_image_key

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun
    from pandas import DataFrame

__all__ = ["StreamRows", "read_columns"]


def read_columns(run: BlueskyRun, stream: str, columns: Sequence[str]) -> DataFrame | None:
    """Read columns of a stream's table; None if there is no such stream or no row yet.

    A column that the run does not have, since an older version stored it, is not a number throughout.
    """
    try:
        table = run.base[f"{stream}/internal"]
    except KeyError:
        return None
    stored = [name for name in columns if name in table.columns]
    return table.read(stored).reset_index(drop=True).reindex(columns=list(columns))


class StreamRows:
    """The stream of a run that holds an image key.

    Parameters
    ----------
    run : BlueskyRun
        The run.
    stream : str
        Name of the stream.
    node : Container
        Its client.
    """

    def __init__(self, run: BlueskyRun, stream: str, node: Any) -> None:
        self._run, self._stream, self._node = run, stream, node
        self._keys: dict[str, Any] = node.metadata["data_keys"]

    @classmethod
    def of_image(cls, run: BlueskyRun, image_key: str) -> StreamRows:
        """Find the stream of an image key.

        Raises
        ------
        ValueError
            If no stream has it.
        """
        stated, key = split_image_key(image_key)
        streams = run.base
        # The most likely one first, since listing the others is one more request.
        others = (name for name in streams if name != PRIMARY)
        for stream in [stated] if stated else itertools.chain([PRIMARY], others):
            try:
                node = streams[stream]
            except KeyError:
                continue
            if key in node.metadata.get("data_keys", {}):
                return cls(run, stream, node)
        raise ValueError(f"no stream of the run {run.start['uid']} has the image key {image_key!r}")

    def image(self, key: str) -> Any:
        """Give the client of the image array, shape (..., rows, columns)."""
        return self._run.base[f"{self._stream}/{split_image_key(key)[1]}"]

    def circumstances(
        self,
        image_key: str,
        frame_index: NDArray[np.int64],
        seq_num: NDArray[np.int64],
        more: Sequence[str] = (),
    ) -> dict[str, NDArray[np.float64]]:
        """Give what else was recorded with each frame, NaN where it was not.

        Parameters
        ----------
        image_key : str
            The key of the frames.
        frame_index, seq_num : array, shape (N,)
            Index of each frame and sequence number of its event.
        more : sequence of str
            Keys to give besides.

        Returns
        -------
        dict
            `truth_disk_number`, then the positions of the moved motors (all numbers of
            the stream where nothing was moved), then `more`; each of shape (N,), float64.
        """
        _, image_key = split_image_key(image_key)
        truth, streamed = self._truth_key(image_key), self._streamed_truth_key(image_key)
        keys = [key for key in self._position_keys() if key != truth]
        keys += [key for key in more if key in self._scalars() and key not in keys]
        wanted = [*keys, *([truth] if truth else [])]
        table = read_columns(self._run, self._stream, ["seq_num", *wanted])
        values = {key: np.full(len(frame_index), np.nan) for key in ("truth_disk_number", *keys)}
        if streamed is not None:
            stored = np.asarray(self.image(streamed).read()).reshape(-1)
            known = frame_index < len(stored)
            values["truth_disk_number"][known] = stored[frame_index[known]]
        if table is None or table.empty:
            return values
        rows = self._rows(image_key, frame_index, seq_num, table["seq_num"].to_numpy())
        known = rows >= 0
        for key in wanted:
            column = table[key].to_numpy(dtype=np.float64)
            values["truth_disk_number" if key == truth else key][known] = column[rows[known]]
        return values

    def _rows(
        self,
        image_key: str,
        frame_index: NDArray[np.int64],
        seq_num: NDArray[np.int64],
        table_seq_num: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Give the row of each frame, -1 for none.

        By the frame's index, since after a pause two rows may have one sequence number;
        by that number where the index does not fit (a key that not every event has).
        """
        shape = self._keys[image_key]["shape"]
        rows = frame_index // (int(shape[0]) if len(shape) == 3 else 1)
        fits = rows < len(table_seq_num)
        fits[fits] = table_seq_num[rows[fits]] == seq_num[fits]
        last_row = {int(number): row for row, number in enumerate(table_seq_num)}
        by_number = np.array([last_row.get(int(number), -1) for number in seq_num], dtype=np.int64)
        return np.where(fits, rows, by_number)

    def _truth_key(self, image_key: str) -> str | None:
        owners = [
            key
            for key in self._scalars()
            if key.endswith(TRUTH_SUFFIX) and image_key.startswith(key[: -len(TRUTH_SUFFIX)] + "_")
        ]
        return max(owners, key=len, default=None)

    def _streamed_truth_key(self, image_key: str) -> str | None:
        """Find the truth about each frame where it is a stream beside the frames, as ophyd-async's are."""
        key = f"{image_key}{STREAMED_TRUTH_SUFFIX}"
        return key if key in self._keys else None

    def _position_keys(self) -> list[str]:
        scalars = self._scalars()
        hints = self._node.metadata.get("hints", {})
        moved: list[str] = []
        for motor in self._run.start.get("motors") or ():
            fields = hints.get(motor, {}).get("fields")
            moved += fields or [key for key in scalars if self._keys[key].get("object_name") == motor]
        return [key for key in dict.fromkeys(moved) if key in scalars] or scalars

    def _scalars(self) -> list[str]:
        return [
            key
            for key, spec in self._keys.items()
            if spec["dtype"] in ("number", "integer") and not spec.get("external") and not spec.get("shape")
        ]
