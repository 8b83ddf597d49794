"""Keeping OpenVINO from reporting its use.

Importing OpenVINO (2026.4) reports that to Google, from a forked copy of this process, which then runs what
is to be done at the end of this one. It has no setting against that but a file in the user's home, which is
not ours to write. It goes without its package for reports where that cannot be imported, which is what
`refuse_reports` arranges, by the way that Python documents for it. It would end with an option of
`openvino-telemetry` for programs, or when OpenVINO no longer requires that package.
"""

from __future__ import annotations

import sys

__all__ = ["refuse_reports"]


def refuse_reports() -> None:
    """Have `import openvino_telemetry` fail in this process, unless it was imported before."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
