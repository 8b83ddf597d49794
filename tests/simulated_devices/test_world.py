"""A more real world: each effect against an analytic limit, off by default, and recorded with the frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import (
    DetectorResponse,
    DiskSystem,
    PixelGrid,
    SpeckleDetector,
    SpeckleSample,
    World,
    draw_intensity,
    draw_system,
    intensity,
    published,
    quadrant,
    regenerate_frame,
)
from simulated_devices.detector_response import share_charge
from simulated_devices.disks import draw_spheres
from simulated_devices.world import scattered
from speckle_plugin.scattering import (
    intensity_of_disks,
    intensity_of_spheres,
    intensity_of_squares,
    partially_coherent,
)

GRID = quadrant(129)
TWO = np.array([[600.0, 700.0], [1000.0, 1300.0]])
POINTS = np.array([0.5, 0.5])
REST = np.zeros(2)


def pair(visibility: float | NDArray[np.float64], grid: PixelGrid = GRID) -> NDArray[np.float64]:
    """Two equal particles at `TWO`, of amplitude 1 each, and fringes of this visibility."""
    d = TWO[1] - TWO[0]
    phase = grid.k_rows[:, None] * d[0] + grid.k_columns[None, :] * d[1]
    return 2.0 + 2.0 * visibility * np.cos(phase)


def draw(world: World, seed: int = 3, number: int = 7, family: str = "poly") -> NDArray[np.float64]:
    return draw_intensity(world, family, number, GRID, np.random.default_rng(seed))


def test_all_is_off_by_default() -> None:
    system = draw_system("poly", 7, np.random.default_rng(3))
    np.testing.assert_array_equal(draw(World()), intensity(system, GRID))


@pytest.mark.parametrize(
    "world",
    [
        World(coherence_length=1e9),
        World(coherence_length=np.inf),
        World(beam_width=1e9),
        World(motion=1e-9),
    ],
    ids=["coherence", "infinite coherence", "beam", "motion"],
)
def test_in_the_limit_the_frame_is_the_ideal_one(world: World) -> None:
    ideal = draw(World())
    np.testing.assert_allclose(draw(world), ideal, rtol=1e-5, atol=1e-7 * ideal.max())


@pytest.mark.parametrize("coherence_length", [300.0, 1000.0, 3000.0])
@pytest.mark.parametrize("grid", [GRID, published(65), PixelGrid((40, 50), 2.7e-3, (3.25, 4.5))])
def test_fringes_of_two_points_lose_contrast_by_the_degree_of_coherence(
    coherence_length: float, grid: PixelGrid
) -> None:
    frame = partially_coherent(lambda g: intensity_of_disks(TWO, POINTS, g), grid, coherence_length)
    distance = np.linalg.norm(TWO[1] - TWO[0])
    visibility = np.exp(-0.5 * (distance / coherence_length) ** 2)
    np.testing.assert_allclose(
        frame / frame.mean(), pair(visibility, grid) / pair(visibility, grid).mean(), atol=0.02
    )


def test_a_coherence_length_must_be_positive() -> None:
    with pytest.raises(ValueError, match="coherence length must be above 0"):
        partially_coherent(lambda g: np.ones(g.shape), GRID, 0.0)


def test_spheres_scatter_by_their_form_factor() -> None:
    radius, k = 60.0, GRID.k_magnitude
    u = np.where(k == 0, 1.0, k * radius)
    expected = np.where(
        k == 0, 4 / 3 * np.pi * radius**3, 4 * np.pi * radius**3 * (np.sin(u) - u * np.cos(u)) / u**3
    )
    frame = intensity_of_spheres(TWO[:1], np.array([radius]), GRID)
    np.testing.assert_allclose(frame, expected**2, rtol=1e-6, atol=1e-10 * expected.max() ** 2)


def test_spheres_do_not_overlap_in_space_but_may_in_the_picture() -> None:
    rng = np.random.default_rng(0)
    overlaps = 0
    for _ in range(20):
        system = draw_spheres(np.full(20, 90.0), rng)
        d = np.linalg.norm(system.positions[:, None] - system.positions[None], axis=-1)
        overlaps += int((d[np.triu_indices(20, 1)] < 180.0).sum())
        assert ((system.positions >= 90) & (system.positions <= 1910)).all()
    assert overlaps > 0
    with pytest.raises(ValueError, match="do not fit into the box"):
        draw_spheres(np.full(200, 400.0), rng)


def test_a_square_scatters_as_two_slits_of_its_width() -> None:
    edge = 120.0
    frame = intensity_of_squares(TWO[:1], np.array([edge]), np.zeros(1), GRID)

    def slit(k: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sinc(k * edge / (2 * np.pi))

    expected = (edge**2 * slit(GRID.k_rows)[:, None] * slit(GRID.k_columns)[None, :]) ** 2
    np.testing.assert_allclose(frame, expected, rtol=1e-9, atol=1e-12 * edge**4)
    # Turned by 90 degrees it is the same square, by 45 degrees another.
    turned = intensity_of_squares(TWO[:1], np.array([edge]), np.array([np.pi / 2]), GRID)
    np.testing.assert_allclose(turned, expected, rtol=1e-6, atol=1e-9 * edge**4)
    diagonal = intensity_of_squares(TWO[:1], np.array([edge]), np.array([np.pi / 4]), GRID)
    assert np.abs(diagonal - expected).max() > 0.1 * edge**4 * 0.1


def test_squares_have_the_areas_of_the_disks() -> None:
    assert draw(World(shape="square"))[0, 0] == pytest.approx(draw(World())[0, 0])
    assert draw(World(shape="square"), family="constant_radius", number=20).shape == GRID.shape


def test_a_narrow_beam_sees_the_particle_in_its_middle_alone() -> None:
    positions = np.array([[1000.0, 1000.0], [100.0, 100.0]])
    system = DiskSystem(positions, np.array([60.0, 60.0]))
    frame = scattered(World(beam_width=150.0), system, REST, None, GRID)
    alone = intensity(DiskSystem(positions[:1], system.radii[:1]), GRID)
    np.testing.assert_allclose(frame, alone, rtol=0.02, atol=1e-3 * alone.max())


def test_a_common_way_of_all_disks_changes_nothing() -> None:
    system = draw_system("poly", 7, np.random.default_rng(3))
    ways = np.full((7, 2), 250.0)
    frame = scattered(World(motion=1.0), system, np.zeros(7), ways, GRID)
    np.testing.assert_allclose(frame, intensity(system, GRID), rtol=1e-6, atol=1e-9 * frame.max())


def test_the_fringes_of_a_disk_that_moves_fade_as_a_sinc() -> None:
    way = np.array([[0.0, 0.0], [300.0, 0.0]])
    world = World(motion=1.0, motion_steps=64)
    frame = scattered(world, DiskSystem(TWO, POINTS), REST, way, GRID)
    visibility = np.sinc(GRID.k_rows * 300.0 / (2 * np.pi))[:, None]
    np.testing.assert_allclose(frame / frame.mean(), pair(visibility) / pair(visibility).mean(), atol=0.02)


def test_charge_is_shared_with_neighbours_and_kept() -> None:
    counts = np.zeros((31, 31))
    counts[15, 15] = 1.0
    shared = share_charge(counts, 0.2)
    assert shared.sum() == pytest.approx(1.0, abs=1e-9)
    # Of photons anywhere in a pixel, a share of deviation / sqrt(2 pi) crosses each edge.
    assert shared[:, 16].sum() == pytest.approx(0.2 / np.sqrt(2 * np.pi), rel=1e-4)
    np.testing.assert_allclose(share_charge(counts, 1e-6), counts, atol=1e-5)


def test_panels_have_gaps_and_gains_of_their_own() -> None:
    response = DetectorResponse(panel_size=20, panel_gap=3, panel_gain_spread=0.1, defect_seed=4)
    frame = response.respond(np.ones((66, 66)), np.random.default_rng(0))
    assert (frame[20:23] == 0).all() and (frame[:, 43:46] == 0).all()
    gains = {round(float(g), 5) for g in frame[frame > 0]}
    assert len(gains) == 9 and 0.01 < np.std(list(gains)) < 0.3
    np.testing.assert_array_equal(response.gaps((66, 66)), frame == 0)
    whole = DetectorResponse(panel_size=66).respond(np.ones((66, 66)), np.random.default_rng(0))
    assert (whole == 1).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": "cube"}, "shape must be one of disk, sphere, square, not 'cube'"),
        ({"coherence_length": 0.0}, "coherence_length must be a length above 0"),
        ({"beam_width": -1.0}, "beam_width must be a length above 0"),
        ({"motion": -1.0}, "motion must be a length of 0 or more"),
        ({"motion_steps": 1}, "motion_steps must be an integer of 2 or more"),
    ],
)
def test_worlds_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        World(**settings)
    with pytest.raises(ValueError, match="unknown settings of the world: color"):
        World.from_dict({"color": "red"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"panel_gap": 2}, "need panel_size"),
        ({"panel_size": -1}, "panel_size must be an integer of 0 or more"),
        ({"charge_sharing": -0.1}, "charge_sharing must be a number of 0 or more"),
    ],
)
def test_panels_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DetectorResponse(**settings)


def test_the_world_is_recorded_and_the_frame_made_again(tmp_path: Path) -> None:
    world = World(shape="sphere", coherence_length=700.0, motion=50.0, beam_width=800.0)
    sample = SpeckleSample(name="sample", seed=5)
    detector = SpeckleDetector(
        name="det", sample=sample, data_directory=tmp_path, grid=quadrant(65), world=world, seed=1
    )
    detector.stage()
    detector.trigger().wait(30)
    data = {key: reading["value"] for key, reading in detector.read().items()}
    configuration = {key: reading["value"] for key, reading in detector.read_configuration().items()}
    assert World.from_dict(json.loads(configuration["det_world"])) == world
    again = regenerate_frame(data, configuration)
    ideal = regenerate_frame(data, {k: v for k, v in configuration.items() if k != "det_world"})
    import h5py

    (path,) = tmp_path.glob("*.h5")
    with h5py.File(path) as file:
        taken = next(iter(_datasets(file)))[0]
    np.testing.assert_array_equal(again, taken)
    assert np.abs(ideal - again).max() > 0.01 * ideal.max()


def _datasets(group: Any) -> list[Any]:
    import h5py

    found: list[Any] = []
    group.visititems(
        lambda _, node: found.append(node[()]) if isinstance(node, h5py.Dataset) and node.ndim == 3 else None
    )
    return found
