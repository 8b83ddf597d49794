"""`%mov`, `%movr` and `%wa` of bluesky, on the session's RunEngine. Nothing to do without IPython."""

import sys as _sys

_ipython = _sys.modules.get("IPython")
_shell = None if _ipython is None else _ipython.get_ipython()

if _shell is not None:
    from bluesky.magics import BlueskyMagics as _BlueskyMagics
    from bluesky.run_engine import set_bluesky_event_loop as _set_loop
    from IPython.core.magic import line_magic as _line_magic
    from IPython.core.magic import magics_class as _magics_class

    _set_loop(RE.loop)  # that module makes a RunEngine of its own, and its loop everyone's

    @_magics_class
    class _Magics(_BlueskyMagics):
        """They take away the RunEngine's progress bars: these are given back."""

        RE = RE
        pbar_manager = RE.waiting_hook

        @_line_magic
        def mov(self, line):
            """Move motors to positions: `%mov sample.x 0.5 sample.y 0`."""
            try:
                super().mov(line)
            finally:
                self.RE.waiting_hook = self.pbar_manager

        @_line_magic
        def movr(self, line):
            """Move motors by distances: `%movr sample.x 0.1`."""
            try:
                super().movr(line)
            finally:
                self.RE.waiting_hook = self.pbar_manager

        @_line_magic
        def wa(self, line):
            """Tell where all motors are, and what detectors there are: `%wa`, `%wa motors`."""
            super().wa(line)

    _shell.register_magics(_Magics)
