"""The disk number over a sample, and a sample's stages and seeds."""

from __future__ import annotations

import json
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import list_scan
from bluesky.utils import FailedStatus
from ophyd.utils import LimitError

from simulated_devices import DISK_NUMBERS, MapShape, SampleMap, SpeckleSample


def numbers_along(sample_map: SampleMap, axis: str, count: int = 401) -> list[int]:
    low, high = getattr(sample_map, f"{axis}_range")
    centre = {"x": sum(sample_map.x_range) / 2, "y": sum(sample_map.y_range) / 2}
    return [sample_map.disk_number(**(centre | {axis: v})) for v in np.linspace(low, high, count)]


@pytest.mark.parametrize("shape", MapShape)
def test_maps_are_seeded_and_stay_within_their_numbers(shape: MapShape) -> None:
    sample_map = SampleMap(shape, disk_numbers=(3, 7, 12), seed=4)
    along = numbers_along(sample_map, "x") + numbers_along(sample_map, "y")
    assert set(along) <= {3, 7, 12}
    assert all(type(n) is int for n in along)
    again = SampleMap(shape, disk_numbers=(3, 7, 12), seed=4)
    assert numbers_along(again, "x") + numbers_along(again, "y") == along


def test_gradient_runs_through_all_numbers() -> None:
    along = numbers_along(SampleMap("gradient"), "x")
    assert along == sorted(along)
    assert set(along) == set(DISK_NUMBERS)
    assert len(set(numbers_along(SampleMap("gradient"), "y"))) == 1


def test_steps_have_bands_of_unlike_neighbours() -> None:
    along = numbers_along(SampleMap("steps", seed=1, parts=5), "x")
    changes = np.flatnonzero(np.diff(along))
    np.testing.assert_allclose(np.diff(changes), 80, atol=1)
    assert len(changes) == 4


def test_patches_differ_by_seed() -> None:
    maps = [SampleMap("patches", seed=seed) for seed in range(5)]
    assert len({tuple(numbers_along(m, "x") + numbers_along(m, "y")) for m in maps}) == 5


def test_extent() -> None:
    sample_map = SampleMap("gradient", x_range=(0.0, 10.0), y_range=(5.0, 6.0))
    assert sample_map.disk_number(0.0, 5.0) == 2
    assert sample_map.disk_number(10.0, 6.0) == 20
    with pytest.raises(ValueError, match=r"\(10.1, 5\) mm is not on the sample.*move onto it"):
        sample_map.disk_number(10.1, 5.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": "rings"}, "steps, gradient, patches"),
        ({"disk_numbers": ()}, "disk_numbers must be positive integers"),
        ({"disk_numbers": (2, 0)}, "disk_numbers must be positive integers"),
        ({"parts": 0}, "parts must be an integer of 1 or more"),
        ({"seed": -1}, "seed must be an integer of 0 or more"),
        ({"x_range": (1.0, -1.0)}, "x_range must be"),
    ],
)
def test_wrong_maps(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SampleMap(**settings)


def test_map_survives_json() -> None:
    sample_map = SampleMap("patches", disk_numbers=(2, 5), seed=3, x_range=(0.0, 2.0))
    assert SampleMap.from_dict(json.loads(json.dumps(sample_map.to_dict()))) == sample_map
    with pytest.raises(ValueError, match="unknown settings of a sample map: size"):
        SampleMap.from_dict({"size": 2})


def test_stages_are_moved_by_plans(run_engine: RunEngine) -> None:
    sample = SpeckleSample(name="sample")
    run_engine(bps.mv(sample.x, 1, sample.y, -0.25))
    assert (sample.x.position, sample.y.position) == (1.0, -0.25)
    with pytest.raises(LimitError, match="sample_x can be moved from -1 to 1 mm, not to 1.5"):
        run_engine(bps.mv(sample.x, 1.5))


def test_positions_are_floats_from_the_first_event_on(run_engine: RunEngine) -> None:
    sample = SpeckleSample(name="sample")
    documents: list[tuple[str, dict[str, Any]]] = []
    positions: Any = [0, 1, 0.5]
    run_engine(list_scan([], sample.x, positions), lambda name, doc: documents.append((name, doc)))
    events = [doc["data"] for name, doc in documents if name == "event"]
    assert [type(event["sample_x"]) for event in events] == [float] * 3
    assert [type(event["sample_x_setpoint"]) for event in events] == [float] * 3
    (descriptor,) = (doc for name, doc in documents if name == "descriptor")
    assert descriptor["data_keys"]["sample_x"]["dtype"] == "number"


def test_stage_starts_on_the_sample() -> None:
    sample = SpeckleSample(name="sample", sample_map=SampleMap(x_range=(5.0, 7.0)))
    assert sample.x.position == 6.0
    assert sample.illuminate().disk_number == 11


def test_rearranging_sample_gives_other_seeds() -> None:
    samples = [SpeckleSample(name="sample", seed=5) for _ in range(2)]
    series = [[sample.illuminate().seed for _ in range(4)] for sample in samples]
    assert len(set(series[0])) == 4
    assert series[0] == series[1]
    samples[0].seed.put(5)
    assert samples[0].illuminate().seed == series[0][0]


def test_samples_without_a_seed_do_not_repeat_each_other() -> None:
    assert SpeckleSample(name="a").seed.get() != SpeckleSample(name="b").seed.get()


def test_frozen_sample_depends_on_the_position_only() -> None:
    sample = SpeckleSample(name="sample", frozen=True, seed=5, position_resolution=0.01)

    def seed_at(x: float, y: float) -> int:
        sample.x.set(x).wait()
        sample.y.set(y).wait()
        return sample.illuminate().seed

    here = seed_at(0.1, 0.2)
    assert seed_at(0.2, 0.1) != here
    assert seed_at(0.1, 0.21) != here
    assert seed_at(0.1, 0.2) == here
    assert seed_at(0.101, 0.199) == here
    sample.seed.put(6)
    assert seed_at(0.1, 0.2) != here


def test_settings_are_configuration() -> None:
    sample = SpeckleSample(name="sample", family="poly", frozen=True, seed=3)
    values = {key: reading["value"] for key, reading in sample.read_configuration().items()}
    assert values["sample_family"] == "poly"
    assert values["sample_frozen"] is True
    assert values["sample_seed"] == 3
    assert SampleMap.from_dict(json.loads(values["sample_map"])) == sample.map
    assert sample.describe_configuration().keys() == values.keys()
    assert set(sample.read()) == {"sample_x", "sample_x_setpoint", "sample_y", "sample_y_setpoint"}


def test_wrong_settings_are_refused_when_set(run_engine: RunEngine) -> None:
    sample = SpeckleSample(name="sample")
    with pytest.raises(ValueError, match="sample_family: expected one of mono, poly"):
        sample.family.put("round")
    with pytest.raises(FailedStatus) as failure:
        run_engine(bps.mv(sample.seed, -1))
    assert "sample_seed: expected an integer from 0" in str(failure.value.__cause__)
    with pytest.raises(ValueError, match="sample_frozen: expected True or False"):
        sample.frozen.put("yes")
    with pytest.raises(ValueError, match="position_resolution must be above 0"):
        SpeckleSample(name="sample", position_resolution=0.0)
    run_engine(bps.mv(sample.family, "poly", sample.seed, np.int64(4)))
    assert sample.family.get() == "poly"
    assert type(sample.seed.get()) is int
