"""The drawing itself: each kind of scan, without a process."""

from __future__ import annotations

import gc
import io
import math
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from speckle_plugin.display.answers import Image, Trouble
from speckle_plugin.display.course import course_of
from speckle_plugin.display.figure import SIZE, ScanFigure, footer, frame_rate
from speckle_plugin.display.thinning import MOST_PIXELS, make_picture, thin
from speckle_plugin.display.view import MOST_POINTS, Progress, ScanView, Update
from speckle_plugin.display.wire import pack_answer, pack_update, read_answer, read_update
from speckle_plugin.documents.descriptors import FrameSettings, describe_detector
from speckle_plugin.documents.frame_finder import FrameReference
from speckle_plugin.network.classifier import FrameResult
from speckle_plugin.schema import Flag, Status
from speckle_plugin.speeds import resident_mebibytes
from tests.display.scenes import COUNT, LINE, MAP, PLANE, SCENES, scan


def paper(dots_per_inch: int = 40) -> Figure:
    figure = Figure(figsize=SIZE, dpi=dots_per_inch)
    FigureCanvasAgg(figure)
    return figure


def texts(figure: Figure) -> str:
    return " / ".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


@pytest.mark.parametrize("name", SCENES)
def test_every_kind_is_drawn(name: str) -> None:
    figure = paper()
    drawing = ScanFigure(figure)
    for _ in range(2):  # the second time what is there is renewed
        drawing.draw(SCENES[name]())
        figure.savefig(io.BytesIO(), format="png")
    told = texts(figure)
    expected = {
        "grid": ["disk number (x: no label)", "sample_x (mm)", "82.0%; saturated", "flags: 3 empty"],
        "plane": ["sample_x (mm)", "sample_y (mm)"],
        "line": ["x at the bottom: no label", "sample_x (mm)"],
        "count": ["time since the start (s)", "beam centre not known"],
        "flagged": ["flagged: non finite, no label"],
        "nothing yet": ["waiting for a scan"],
    }
    for text in expected[name]:
        assert text in told, (name, text)
    if name == "nothing yet":
        return
    for text in ("quadrant 1.2", "3 waiting, the oldest 0.4 s", "label 21 ms after", "10.0 frames/s"):
        assert text in told


def test_the_map_has_each_label_at_its_place() -> None:
    figure = paper()
    view = scan(MAP, frames=20)
    ScanFigure(figure).draw(view)
    (axes,) = [axes for axes in figure.axes if axes.get_title().startswith("disk number")]
    (tiles,) = axes.images
    cells: np.ndarray[Any, Any] = np.ma.filled(np.ma.asarray(tiles.get_array()), 0)
    left, right, bottom, top = tiles.get_extent()
    for point in view.points:
        row = int((point.y - bottom) / (top - bottom) * cells.shape[0])
        column = int((point.x - left) / (right - left) * cells.shape[1])
        assert cells[row, column] == point.disk_number or point.status == "flagged"
    assert axes.get_xlim() == pytest.approx((-1 - 1 / 7, 1 + 1 / 7)), (
        "the whole plan, from the first frame on"
    )


def test_masked_pixels_are_grey_and_the_beam_is_marked() -> None:
    figure = paper()
    view = scan(MAP)
    ScanFigure(figure).draw(view)
    (axes,) = [axes for axes in figure.axes if axes.get_title().startswith("det_image")]
    (image,) = axes.images
    picture = view.picture
    assert picture is not None and picture.center is not None
    drawn = np.asarray(image.to_rgba(np.ma.asarray(image.get_array())))
    masked = np.isnan(picture.pixels)
    assert masked.any() and np.ptp(drawn[masked][:, :3]) == 0 and drawn[masked][0, 0] == pytest.approx(0.75)
    beam = axes.lines[1]
    assert np.asarray(beam.get_xydata()).tolist() == [list(picture.center[::-1])]


@pytest.mark.parametrize("pixels", [np.zeros((40, 50)), np.full((40, 50), np.nan), np.full((9, 9), -5.0)])
def test_frames_without_a_pixel_above_zero(pixels: np.ndarray[Any, Any]) -> None:
    from dataclasses import replace

    figure = paper()
    view = scan(LINE)
    assert view.picture is not None
    view.picture = replace(view.picture, pixels=pixels.astype(np.float32))
    drawing = ScanFigure(figure)
    drawing.draw(view)
    figure.savefig(io.BytesIO(), format="png")


def test_positions_that_are_not_known_and_a_lost_grid() -> None:
    for course in (MAP, PLANE, LINE, COUNT):
        figure = paper()
        view = scan(course)
        far = view.points[3]._replace(x=1e9)
        unknown = [point._replace(x=math.nan, y=math.nan) for point in view.points]
        ScanFigure(figure).draw(ScanView(view.head, type(view.points)(unknown), None, Progress()))
        figure.savefig(io.BytesIO(), format="png")
        view.points.append(far)
        ScanFigure(figure).draw(view)
        figure.savefig(io.BytesIO(), format="png")


def test_a_long_run_keeps_its_last_frames() -> None:
    view = scan(COUNT)
    view.add(Update(points=list(view.points) * (MOST_POINTS // 40), progress=Progress(70_000)))
    assert len(view.points) == MOST_POINTS
    assert f"(of the last {MOST_POINTS})" in footer(view)


def test_the_rate_of_few_frames() -> None:
    points = list(scan(COUNT).points)
    assert frame_rate([]) == frame_rate(points[:1]) == 0.0
    assert frame_rate(points) == pytest.approx(10.0)


@pytest.mark.slow
def test_many_runs_leave_no_memory() -> None:
    from dataclasses import replace

    figure = paper(20)
    drawing = ScanFigure(figure)
    memory = []
    for number in range(30):
        view = scan(MAP, frames=9, flagged=0)
        assert view.head is not None
        view.head = replace(view.head, uid=str(number))
        drawing.draw(view)
        figure.savefig(io.BytesIO(), format="png")
        gc.collect()
        memory.append(resident_mebibytes())
    assert len(figure.axes) == 7
    assert memory[-1] < memory[10] + 5, memory


GRID: dict[str, Any] = {
    "motors": ["y", "x"],
    "shape": [3, 5],
    "extents": [[0, 2], [-1, 1]],
    "hints": {"gridding": "rectilinear", "dimensions": [[["y"], "primary"], [["x"], "primary"]]},
}
KEYS = {"data_keys": {"x": {"units": "mm"}, "y": {}}}


@pytest.mark.parametrize(
    ("start", "descriptor", "kind", "fields"),
    [
        (GRID, KEYS, "map", ("x", "y")),
        ({**GRID, "extents": None}, KEYS, "points", ("x", "y")),
        ({**GRID, "hints": {"dimensions": GRID["hints"]["dimensions"]}}, KEYS, "points", ("x", "y")),
        ({"motors": ["m"]}, {"object_keys": {"m": ["m_readback"]}}, "line", ("m_readback",)),
        ({"motors": ["m"]}, {"hints": {"m": {"fields": ["m_rbv"]}}}, "line", ("m_rbv",)),
        ({"hints": {"dimensions": [[["time"], "primary"]]}}, {}, "time", ("time",)),
        ({}, {}, "time", ("time",)),
        ({"motors": ["a", "b", "c"]}, {}, "time", ("time",)),
        ({"hints": {"dimensions": 5}}, {}, "time", ("time",)),
        ({**GRID, "extents": [["a", "b"], [0, 1]]}, KEYS, "time", ("time",)),
        ({**GRID, "shape": [1, 1], "extents": [[2, 2], [0, 0]]}, KEYS, "map", ("x", "y")),
    ],
)
def test_what_results_are_drawn_against(
    start: dict[str, Any], descriptor: dict[str, Any], kind: str, fields: tuple[str, ...]
) -> None:
    course = course_of(start, descriptor)
    assert course.kind == kind
    assert tuple(axis.field for axis in (course.x, course.y) if axis is not None) == fields
    if kind == "map" and start is GRID:
        assert (course.x.label, course.x.step, course.x.low) == ("x (mm)", 0.5, -1.0)


def test_a_frame_is_thinned_with_mask_marks_and_centre() -> None:
    mask = np.zeros((4000, 3000), bool)
    mask[:80] = True
    key = {"dtype": "array", "shape": [4000, 3000], "dtype_numpy": "<u4", "source": "test"}
    descriptor = {"uid": "d", "name": "primary", "data_keys": {"det_image": key}}
    settings = FrameSettings(beam_center=(2000.5, 1500), masks={"det_image": mask})
    detector = describe_detector("det_image", descriptor, settings)
    frame = np.ones((4000, 3000), np.uint32)
    frame[:, :16] = 2**32 - 1  # a gap between modules
    thinned, step = thin(frame)
    assert step == 8 and max(thinned.shape) <= MOST_PIXELS and not np.shares_memory(thinned, frame)
    result = FrameResult(Status.FLAGGED, np.zeros(19, np.float32), flags=(Flag.EMPTY,))
    picture = make_picture(FrameReference(detector, 5, 6, 7.0), thinned, step, result)
    assert picture.pixels.shape == (500, 375) and picture.center == (2000.5, 1500.0)
    assert np.isnan(picture.pixels[:10]).all() and np.isnan(picture.pixels[:, :2]).all()
    assert np.isfinite(picture.pixels[10:, 2:]).all()
    assert (picture.status, picture.flags, picture.frame_index) == ("flagged", "empty", 5)
    assert picture.pixels.nbytes < 2**20


def test_updates_come_out_of_the_wire_as_they_went_in() -> None:
    view = scan(MAP)
    view.points.append(view.points[0]._replace(x=math.nan))
    sent = Update(view.head, list(view.points), view.picture, Progress(50, 3, 0.5, 0.1, "aborted"))
    stream = io.BytesIO(pack_update(sent) + pack_update(Update()))
    found = read_update(stream)
    assert found.head == sent.head and found.progress == sent.progress
    assert found.points[:-1] == sent.points[:-1] and math.isnan(found.points[-1].x)
    assert found.picture is not None and sent.picture is not None
    for name, value in vars(sent.picture).items():
        np.testing.assert_array_equal(getattr(found.picture, name), value)
    assert read_update(stream).head is None
    with pytest.raises(EOFError):
        read_update(stream)
    answers = io.BytesIO(pack_answer(Image(b"png")) + pack_answer(Trouble("no window")))
    assert (read_answer(answers), read_answer(answers)) == (Image(b"png"), Trouble("no window"))
