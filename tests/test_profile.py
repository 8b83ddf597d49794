"""The IPython profile: a start-up file that fails only warns, so the names and the output are looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROFILE = Path(__file__).parents[1] / "profile_collection"

SCAN = (
    "RE(classify_grid_scan([det], sample.y, -1, 1, 2, sample.x, -1, 1, 2)); "
    "print('ROWS', len(find_frames(catalog[-1]))); "
    "solved = solve_frame(catalog[-1], 0); "
    "print('DISKS', solved.structure.disk_number > 1, solved.picture()); "
    "names = [count, scan, grid_scan, classify_count, classify_scan, find_runs, RE]; "
    "print('NAMES', all(map(callable, names)))"
)


def test_a_scan_in_ipython(tmp_path: Path) -> None:
    environment = os.environ | {
        "SPECKLE_DATA": str(tmp_path / "data"),
        "TILED_PROFILES": str(tmp_path / "profiles"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    result = subprocess.run(
        [sys.executable, "-m", "IPython", f"--profile-dir={PROFILE}", "-c", SCAN],
        capture_output=True,
        text=True,
        timeout=180,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert "WARNING" not in result.stdout
    assert "ROWS 4" in result.stdout and "NAMES True" in result.stdout
    assert "RE(classify_grid_scan([det], sample.y" in result.stdout, "the greeting says what to type"
    assert "4 frames: 4 classified" in result.stdout
    assert "DISKS True Figure(" in result.stdout
