"""Eigers of Dectris: a master for each series, with links to data files and what it says of its frames."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from numpy.typing import NDArray

from simulated_devices import PixelGrid, draw_system, intensity
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.live import LiveClassifier
from speckle_plugin.reprocess.complete import complete_run
from speckle_plugin.store import RunSaver, StoredRun, TiledStore, find_frames
from tests.testing.camera import GivenCamera

SHAPE = (120, 129)
CENTER = (55.0, 70.0)
MASK = np.zeros(SHAPE, bool)
MASK[:, 30:34] = True


@pytest.fixture(scope="module")
def frames() -> NDArray[Any]:
    rng = np.random.default_rng(2)
    grid = PixelGrid(SHAPE, np.pi / 2000, CENTER)
    drawn = [intensity(draw_system("poly", number, rng), grid) for number in (3, 7, 12, 5)]
    return np.stack([rng.poisson(frame * (1e6 / frame.sum())) for frame in drawn]).astype(np.uint32)


class Eiger(GivenCamera):
    """As NSLS-II's Eigers: one resource for a scan, a series for each point, of several images."""

    spec = "AD_EIGER2"

    def stage(self) -> list[Any]:
        self._resource = str(uuid.uuid4())
        self._series = 0
        self._asset_docs = [("resource", self._describe_resource())]
        return super().stage()

    def _describe_resource(self) -> dict[str, Any]:
        return {
            "uid": self._resource,
            "spec": self.spec,
            "root": str(self._folder),
            "resource_path": f"scan-{self._resource[:8]}",
            "resource_kwargs": {"images_per_file": self.frames_per_trigger},
            "path_semantics": "posix",
        }

    def write_series(self, path: Path, frames: NDArray[Any]) -> None:
        """Two data files, and the master with links to them."""
        with h5py.File(f"{path}_master.h5", "w") as master:
            entry = master.create_group("entry")
            entry.attrs["NX_class"] = "NXentry"
            for number, part in enumerate(np.array_split(frames, 2), start=1):
                if len(part):
                    name = f"{path.name}_data_{number:06d}.h5"
                    with h5py.File(path.parent / name, "w") as file:
                        file.create_dataset("entry/data/data", data=part, chunks=(1, *self.shape))
                    link = h5py.ExternalLink(name, "/entry/data/data")
                    entry.require_group("data")[f"data_{number:06d}"] = link
            detector = entry.create_group("instrument/detector")
            entry["instrument"].attrs["NX_class"] = "NXinstrument"
            detector.attrs["NX_class"] = "NXdetector"
            detector["beam_center_y"], detector["beam_center_x"] = CENTER
            detector["detectorSpecific/pixel_mask"] = MASK.astype(np.uint32)

    def trigger(self) -> Any:
        from ophyd.status import Status

        n = self.frames_per_trigger
        self._series += 1
        path = self._folder / f"scan-{self._resource[:8]}_{self._series}"
        self.write_series(path, self.expose(self._count, n))
        self._count += n
        self._datum_id = f"{self._resource}/{self._series}"
        datum = {"resource": self._resource, "datum_id": self._datum_id, "datum_kwargs": self.kwargs()}
        self._asset_docs.append(("datum", datum))
        status = Status()
        status.set_finished()
        return status

    def kwargs(self) -> dict[str, Any]:
        return {"seq_id": self._series}


class SlicedEiger(Eiger):
    """One series for the whole scan, written before it; each datum names one frame of it."""

    spec = "AD_EIGER_SLICE"

    def write_series(self, path: Path, frames: NDArray[Any]) -> None:
        if self._series == 1:
            super().write_series(path, self._frames)

    def kwargs(self) -> dict[str, Any]:
        return {"seq_id": 1, "frame_num": self._series - 1}


class LateEiger(Eiger):
    """Its data files come after the scan, as over a slow network share."""

    def write_series(self, path: Path, frames: NDArray[Any]) -> None:
        super().write_series(path, frames)
        file = path.parent / f"{path.name}_data_000001.h5"
        self.hidden = [(file.rename(file.with_suffix(".late")), file)]


@pytest.fixture
def measure(
    run_engine: RunEngine, make_live: Callable[..., LiveClassifier], store: TiledStore
) -> Iterator[Callable[..., tuple[LiveClassifier, Any]]]:
    savers = []

    def count(camera: Any, points: int, settings: FrameSettings | None = None) -> tuple[LiveClassifier, Any]:
        live = make_live(settings)
        savers.append(RunSaver(store.runs, store.journal_directory))
        live.subscribe(savers[-1], saves=True)
        run_engine.subscribe(live)
        run_engine(bp.count([camera], points))
        assert not savers[-1].failures
        return live, store.runs.values().last()

    yield count
    for saver in savers:
        saver.close()


@pytest.mark.parametrize(("kind", "count", "points"), [(Eiger, 2, 2), (Eiger, 1, 3), (SlicedEiger, 1, 4)])
def test_masters_are_labelled_and_served(
    measure: Any, store: TiledStore, frames: NDArray[Any], kind: type[Eiger], count: int, points: int
) -> None:
    camera = kind("det", store.frames_directory, frames)
    camera.frames_per_trigger = count
    live, run = measure(camera, points)
    table = find_frames(run, with_frames=True)
    assert list(table["primary_seq_num"]) == [1 + i // count for i in range(points * count)]
    np.testing.assert_array_equal(np.stack(table["frame"].to_list()), frames[: points * count])
    # The master says where the beam is: nothing is assumed, and nothing disagrees.
    assert set(table["flags"]) == {""} and set(table["status"]) == {"classified"}
    summary = run.metadata["stop"]["classification"]
    stated = summary["stated_by_files"]["det_image"]
    assert stated["beam_center"] == list(CENTER) and len(stated["mask"]) == 64
    detector = StoredRun(run).images["det_image"].describe()
    assert detector.geometry is not None and detector.beam_center == CENTER
    np.testing.assert_array_equal(detector.geometry.mask, MASK)
    done = complete_run(run, live.classifier, everything=True)
    assert done.classified == points * count
    run.refresh()
    assert run.metadata["stop"]["classification"]["stated_by_files"]["det_image"] == stated
    again = find_frames(run)
    np.testing.assert_allclose(again["confidence"], table["confidence"], atol=1e-6)


def test_a_file_that_is_not_there_yet_is_deferred_and_completed(
    measure: Any, store: TiledStore, frames: NDArray[Any]
) -> None:
    camera = LateEiger("det", store.frames_directory, frames)
    live, run = measure(camera, 1)
    summary = run.metadata["stop"]["classification"]
    assert (summary["deferred"], summary["flagged"]) == (1, 0)
    assert "is not there" in summary["problems"][0]["reason"]
    for late, file in camera.hidden:
        late.rename(file)
    done = complete_run(run, live.classifier)
    assert (done.classified, done.deferred) == (1, 0)
    run.refresh()
    assert list(find_frames(run)["flags"]) == [""]
    assert run.metadata["stop"]["classification"]["stated_by_files"]["det_image"]["beam_center"] == list(
        CENTER
    )


def test_what_documents_say_goes_before_the_file(
    measure: Any, store: TiledStore, frames: NDArray[Any]
) -> None:
    camera = Eiger("det", store.frames_directory, frames, {"beam_center": [10.0, 11.0]})
    _, run = measure(camera, 1)
    assert StoredRun(run).images["det_image"].describe().beam_center == (10.0, 11.0)
    assert list(find_frames(run)["flags"]) == ["center_disagrees"]


def test_the_file_goes_before_settings_and_says_so(
    measure: Any, store: TiledStore, frames: NDArray[Any]
) -> None:
    _, run = measure(Eiger("det", store.frames_directory, frames), 1, FrameSettings(beam_center=(10.0, 11.0)))
    (problem,) = run.metadata["stop"]["classification"]["problems"]
    assert "the settings say row 10, column 11; the file's is taken" in problem["reason"]
    assert list(find_frames(run)["flags"]) == [""]
