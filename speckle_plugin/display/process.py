"""The session's end of the process that draws."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from speckle_plugin.display.answers import Image, Trouble
from speckle_plugin.display.place import Place
from speckle_plugin.display.view import Update
from speckle_plugin.display.wire import pack_update, read_answer

__all__ = ["DrawingProcess", "drawing_command"]

ONE_THREAD = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def drawing_command(place: Place) -> list[str]:
    """Give the command of the process, by its module: multiprocessing would run the user's script again."""
    return [sys.executable, "-P", "-m", "speckle_plugin.display.drawing_process", place]


def _environment() -> dict[str, str]:
    """Leave out the backend that a kernel of Jupyter chose for itself; one that the user chose stays."""
    backend = os.environ.get("MPLBACKEND", "")
    return {k: v for k, v in os.environ.items() if k != "MPLBACKEND" or not backend.startswith("module://")}


class DrawingProcess:
    """A running process.

    Parameters
    ----------
    command : list of str
    on_image : callable
        Called with the PNG file of each image, on a thread of its own.
    on_end : callable
        Called, on that thread, with the process itself when it has ended.

    Attributes
    ----------
    trouble : str
        What the process said before it ended; empty if nothing.

    Raises
    ------
    OSError
        If it can't be started.
    """

    def __init__(
        self,
        command: list[str],
        on_image: Callable[[bytes], object],
        on_end: Callable[[DrawingProcess], object],
    ) -> None:
        self.trouble = ""
        self._on_image, self._on_end = on_image, on_end
        self._sending_since: float | None = None
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # toolkits print into the user's prompt
            env={**_environment(), **ONE_THREAD, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the session
        )
        self._reader = threading.Thread(target=self._read, name="speckle-figure-answers", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What the process ended with; None while it runs."""
        return self._process.poll()

    @property
    def seconds_blocked(self) -> float:
        """Seconds for which it has not taken what is being sent."""
        since = self._sending_since
        return 0.0 if since is None else time.monotonic() - since

    def send(self, update: Update) -> None:
        """Send an update. It waits until the process has taken what does not fit the pipe.

        Raises
        ------
        OSError
            If the process has ended.
        """
        stream = self._process.stdin
        if stream is None or stream.closed:
            raise BrokenPipeError("the figure is being closed")
        self._sending_since = time.monotonic()
        try:
            stream.write(pack_update(update))
            stream.flush()
        finally:
            self._sending_since = None

    def finish(self) -> None:
        """Say that nothing more comes. Not while something is being sent."""
        if self._process.stdin is not None:
            with suppress(OSError):  # it has ended
                self._process.stdin.close()

    def wait(self, patience: float) -> None:
        """Wait for its end."""
        self._reader.join(patience)

    def kill(self) -> None:
        """End it, also if it hangs."""
        self._process.kill()

    def _read(self) -> None:
        output = self._process.stdout
        with suppress(EOFError, OSError, ValueError):
            while output is not None:
                match read_answer(output):
                    case Image(png):
                        self._on_image(png)
                    case Trouble(message):
                        self.trouble = message
        self._process.wait()
        for pipe in (self._process.stdin, output):
            if pipe is not None:
                with suppress(OSError):  # what it did not take any more
                    pipe.close()
        self._on_end(self)
