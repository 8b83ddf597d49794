"""The IPython profile: a start-up file that fails only warns, so the names and the output are looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROFILE = Path(__file__).parents[1] / "profile_collection"

SCAN = """
RE(classify_grid_scan([det], sample.y, -1, 1, 2, sample.x, -1, 1, 2))
print('ROWS', len(find_frames(catalog[-1])))
solved = solve_frame(last(), 0)
print('DISKS', solved.structure.disk_number > 1, solved.picture())
names = [count, scan, grid_scan, classify_count, classify_scan, find_runs, RE]
print('NAMES', all(map(callable, names)))

%mov sample.x 0.5
%wa motors
print('PLACE', sample.x.position, RE.waiting_hook is not None)

RE.md["sample"] = "A7"
configure(family="poly", photons=1e5, exposure=0.01, mask=MASK, model="published")
from bluesky.preprocessors import baseline_wrapper
(uid,) = RE(baseline_wrapper(count([det], 2), [sample.y]))
run = last()
told = run["classification"].metadata["configuration"]["classifier"]["data"]
primary = run["primary"].metadata["configuration"]["det"]["data"]
same = run, catalog[run.start["scan_id"]], catalog[uid[:8]]
print('SAME', {found.start["uid"] for found in same} == {uid})
print('TOLD', told["model"], told["masks"][0][:9], primary["det_sample_family"], primary["det_exposure_time"])
print('PHOTONS', '"photons": 100000.0' in primary["det_response"])
print('BEFORE', last(2).start["plan_name"])
import numpy
wrongs = [{"family": "square"}, {"photons": -1}, {"mask": numpy.ones((257, 257), bool)},
          {"mask": numpy.zeros((2, 2), bool)}, {"model": "none such"}]
for wrong in wrongs:
    try:
        configure(exposure=9.0, **wrong)
    except Exception as error:
        print('REFUSED', type(error).__name__, str(error).replace(chr(10), '|'))
print('EXPOSURE', det.exposure_time.get())

from IPython.core.completer import provisionalcompleter
def completed(text):
    with provisionalcompleter():
        return [c.text for c in get_ipython().Completer.completions(text, len(text))]
for text in ('sample.fam', 'configure(pho', 'las', 'det.expos'):
    print('TAB', completed(text))
from inspect import getdoc
typed = ['RE', 'catalog', 'det', 'sample', 'session', 'last', 'figure',
         'configure', 'count', 'scan', 'grid_scan', 'classify_count', 'classify_scan',
         'classify_grid_scan', 'classify_fly',
         'find_runs', 'find_frames', 'frames_to_xarray', 'export_table', 'solve_frame']
print('HELP', [name for name in typed if not getdoc(globals()[name])])
try:
    figure()
except Exception as error:
    print('FIGURE', error)
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Give what a session in IPython prints, and its data directory."""
    folder = tmp_path_factory.mktemp("profile")
    environment = os.environ | {
        "SPECKLE_DATA": str(folder / "data"),
        "TILED_PROFILES": str(folder / "profiles"),
        "IPYTHONDIR": str(folder / "ipython"),
        "COLUMNS": "200",
    }
    for display in ("DISPLAY", "WAYLAND_DISPLAY"):
        environment.pop(display, None)
    mask = np.zeros((257, 257), bool)
    mask[:3, :3] = True
    np.save(folder / "mask.npy", mask)
    script = folder / "scan.ipy"
    script.write_text(SCAN.replace("MASK", repr(str(folder / "mask.npy"))))
    result = subprocess.run(
        [sys.executable, "-m", "IPython", f"--profile-dir={PROFILE}", str(script)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stdout + result.stderr, result.stdout + result.stderr
    assert "WARNING" not in result.stdout
    return result.stdout, folder / "data"


def lines(output: tuple[str, Path], first: str) -> list[str]:
    return [line.removeprefix(f"{first} ") for line in output[0].splitlines() if line.startswith(f"{first} ")]


def test_a_scan_in_ipython(output: tuple[str, Path]) -> None:
    text = output[0]
    assert "ROWS 4" in text and "NAMES True" in text
    assert "RE(classify_grid_scan([det], sample.y" in text, "the greeting says what to type"
    assert "4 frames: 4 classified" in text
    assert "DISKS True Figure(" in text


def test_motors_are_moved_and_found(output: tuple[str, Path]) -> None:
    text = output[0]
    assert lines(output, "PLACE") == ["0.5 True"]
    assert "  sample_x                       0.5         -1.0        1.0" in text


def test_runs_are_found_again(output: tuple[str, Path]) -> None:
    assert lines(output, "SAME") == ["True"]
    assert lines(output, "BEFORE") == ["classify_grid_scan"]


def test_one_call_changes_sample_detector_and_network(output: tuple[str, Path]) -> None:
    assert lines(output, "TOLD") == ["published det_image poly 0.01"]
    assert lines(output, "PHOTONS") == ["True"]


def test_what_is_wrong_changes_nothing(output: tuple[str, Path]) -> None:
    refused = lines(output, "REFUSED")
    assert [line.partition(" ")[0] for line in refused] == [*["ValueError"] * 4, "BundleError"]
    for line, told in zip(
        refused, ("square", "photons", "looks inverted", "(257, 257)", "none such"), strict=True
    ):
        assert told in line
    assert lines(output, "EXPOSURE") == ["0.01"]


def test_table_and_baseline_do_not_mix(output: tuple[str, Path]) -> None:
    text = output[0][output[0].index("\ncount scan 2") :]
    parts = ["Start-of-run baseline", "\nframe ", "\n    0 ", "\n    1 ", "2 frames: ", "End-of-run baseline"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "New stream" not in text and "Persistent Unique" not in text, "one title, one table"


def test_metadata_outlives_the_session(output: tuple[str, Path]) -> None:
    kept = json.loads((output[1] / "metadata.json").read_text())
    assert kept == {"scan_id": 2, "sample": "A7"}


def test_tab_and_help(output: tuple[str, Path]) -> None:
    completed = ["['sample.family']", "['photons=']", "['last']", "['det.exposure_time']"]
    for found, expected in zip(lines(output, "TAB"), completed, strict=True):
        assert expected.strip("[]'") in found or expected.strip("[]'").rpartition(".")[2] in found
    assert lines(output, "HELP") == ["[]"]


def test_without_a_display_the_figure_says_why(output: tuple[str, Path]) -> None:
    (told,) = lines(output, "FIGURE")
    assert told.startswith("there is no display for the live figure: neither DISPLAY nor")
