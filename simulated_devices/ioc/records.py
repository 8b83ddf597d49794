"""Records of an IOC: a setting and its readback, which a client's put and the IOC itself change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
from caproto import ChannelChar, ChannelData, ChannelDouble, ChannelEnum, ChannelInteger, ChannelString

__all__ = ["Record", "Records"]

LONGEST_STRING = 40
"""Of a string record of EPICS; longer text is an array of characters."""

PutHook = Callable[[Any], Awaitable[None]]


class Record:
    """One value under one or two names.

    Parameters
    ----------
    names : sequence of str
        Of its channels: the setting (which clients put to), or the readback, or both in this order.
    value : int, float, str or array
        A text is an array of characters unless `short`.
    choices : sequence of str, optional
        Makes it an enumeration, whose value is one of them.
    settable : bool
        Whether the first name is a setting.
    short : bool
        Makes a text a string record.

    Attributes
    ----------
    on_put : callable, optional
        Awaited when a client has put a value; the put is done when this is, as of a busy record.
    """

    def __init__(
        self,
        names: Sequence[str],
        value: Any,
        choices: Sequence[str] | None = None,
        *,
        settable: bool,
        short: bool = False,
    ) -> None:
        self.on_put: PutHook | None = None
        self._choices = choices
        self._inside = False
        kind, settings = _channel_of(value, choices, short)
        self.channels: dict[str, ChannelData] = {
            name: self._make_channel(kind, settings, settable and index == 0)
            for index, name in enumerate(names)
        }

    def _make_channel(self, kind: type[ChannelData], settings: dict[str, Any], settable: bool) -> ChannelData:
        record = self

        class Channel(kind):
            async def write_from_dbr(self, data: Any, *args: Any, **kwargs: Any) -> Any:
                if kind is ChannelChar and len(data) == 0:
                    data = b"\0"  # what caproto refuses, and clients send for no text
                return await super().write_from_dbr(data, *args, **kwargs)

            async def verify_value(self, value: Any) -> Any:
                value = await super().verify_value(value)
                if settable and not record._inside:
                    await record._take(self, value)
                return value

        return Channel(**settings)

    async def _take(self, channel: ChannelData, value: Any) -> None:
        """Have a client's value in the other channel as well, and do what it asks for."""
        value = self._plain(value)
        for other in self.channels.values():
            if other is not channel:
                await other.write(value)
        if self.on_put is not None:
            await self.on_put(value)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, list | tuple | np.ndarray) and len(value) == 1:
            value = value[0]
        if isinstance(value, bytes | bytearray):
            value = bytes(value).decode().rstrip("\0")
        if self._choices is not None and isinstance(value, int | np.integer):
            value = self._choices[int(value)]
        return value

    @property
    def value(self) -> Any:
        """The value: a number, a text, or one of the choices."""
        value = next(reversed(self.channels.values())).value
        return "" if isinstance(value, list | tuple) and not value else self._plain(value)

    async def set(self, value: Any) -> None:
        """Change it from the inside of the IOC."""
        self._inside = True
        try:
            for channel in self.channels.values():
                await channel.write(value)
        finally:
            self._inside = False


def _channel_of(
    value: Any, choices: Sequence[str] | None, short: bool
) -> tuple[type[ChannelData], dict[str, Any]]:
    if choices is not None:
        return ChannelEnum, {"value": value, "enum_strings": list(choices)}
    if isinstance(value, str) and short:
        return ChannelString, {"value": value}
    if isinstance(value, str):
        return ChannelChar, {"value": value, "max_length": 1048, "string_encoding": "utf-8"}
    if isinstance(value, np.ndarray):
        return ChannelInteger, {"value": value.tolist(), "max_length": value.size}
    if isinstance(value, float):
        return ChannelDouble, {"value": value}
    return ChannelInteger, {"value": value}


class Records:
    """The records under a prefix, by the name of their setting (or of the readback, without one)."""

    def __init__(self, prefix: str, database: dict[str, ChannelData]) -> None:
        self._prefix, self._database = prefix, database
        self._records: dict[str, Record] = {}

    def __getitem__(self, name: str) -> Record:
        """Give a record."""
        return self._records[name]

    def __call__(self, name: str) -> Any:
        """Give the value of a record."""
        return self._records[name].value

    def pair(
        self, name: str, value: Any, choices: Sequence[str] | None = None, *, short: bool = False
    ) -> None:
        """Add a setting NAME with its readback NAME_RBV."""
        self._add(name, Record(self._names(name, f"{name}_RBV"), value, choices, settable=True, short=short))

    def setting(self, name: str, value: Any, choices: Sequence[str] | None = None) -> None:
        """Add a setting without a readback."""
        self._add(name, Record(self._names(name), value, choices, settable=True))

    def readback(self, name: str, value: Any, choices: Sequence[str] | None = None) -> None:
        """Add a readback NAME_RBV; a text is a string record, but for names of files."""
        short = isinstance(value, str) and not name.endswith("FileName")
        self._add(name, Record(self._names(f"{name}_RBV"), value, choices, settable=False, short=short))

    def _names(self, *names: str) -> list[str]:
        return [self._prefix + name for name in names]

    def _add(self, name: str, record: Record) -> None:
        self._records[name] = record
        self._database.update(record.channels)
