"""Searches give what a plain loop over all runs gives, whatever their values, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tiled.client import from_context
from tiled.queries import In
from tiled.structures.core import Spec

from speckle_plugin.cli.run_selection import run_selection
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.documents.structure_counts import StructureCounts
from speckle_plugin.schema import CLASSIFICATION_STREAM, STRUCTURE_SUMMARY, SUMMARY, Flag, Opinion, Status
from speckle_plugin.solving.results import FEWEST_ROWS, StructureResults, solver_configuration
from speckle_plugin.solving.rows import opinion_row
from speckle_plugin.store import RunSaver, Store, TiledStore, find_frames, find_runs
from speckle_plugin.store.write.recovery import RECOVERED
from speckle_plugin.structure import SolveSettings
from tests.testing import CLASSES, FakeClassifier, documents_of, good, possible_numbers

NAMES = [
    "mono",
    "mono2",
    "mon",
    "Mono",
    "1",
    "10",
    "1.0",
    "01",
    "true",
    "null",
    "",
    "3e2f",
    "3e2f9",
    "a%",
    "a_",
]
"""Names, versions and hashes that contain each other, look like other values, or like patterns."""
ODD_TEXTS = ['a"b', "a'b", "a\\b", "a\nb", "[1]", '["mono"]', '{"k":1}', "π", "1 "]
NUMBERS = [0, 1, 10, -1, 1.0, 0.1, 0.2, 0.1 + 0.2, 0.3, 1e-300, 2**53, 2**60, 2**53 + 1]
WHOLES = [[], [1], [True], [1, 10], ["mono"], [[1]], {"k": 1}, {"k": True}, {}, {"k": 1, "k2": 1}]
TEXTS = st.sampled_from(NAMES + ODD_TEXTS)
VALUES = TEXTS | st.sampled_from([*NUMBERS, True, False, None]) | st.sampled_from(WHOLES) | st.floats(-1, 1)
KEYS = st.sampled_from(["k", "k2", "key", "a key", 'a"b', "a'b", "b[0]", "0", "$", "π"])
METADATA = st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=2), max_size=4)

LABELS = [1, 2, 3, 10, 12, 20, 21, 120]
TIMES = [
    1e9,
    1e9 + 0.1,
    1e9 + 0.2,
    1763800000.1234567,
    math.nextafter(1763800000.1234567, 2e9),
    2_000_000_000,
]
CONFIDENCES = [0.0, 0.1, 0.3, 0.1 + 0.2, 0.5, math.nextafter(0.5, 1), 1.0]
WITHOUT_SHRINKING = (Phase.generate,)
"""A failing example is shown as it is: each smaller one would take seconds of requests."""
FLAGS = [str(flag) for flag in list(Flag)[:4]]
RADII = [0.0, 1e-300, 41.5, math.nextafter(41.5, 99), 0.1 + 0.2, 60.0, 1e9]
BOUNDS = (
    st.lists(st.sampled_from([*RADII, -math.inf, math.inf]), min_size=2, max_size=2).map(sorted).map(tuple)
)
OPINIONS = st.fixed_dictionaries(
    {
        "certificate": st.sampled_from(Opinion),
        "disk_number": st.sampled_from([2, 12]),
        "mean_radius": st.sampled_from(RADII),
        "radius_spread": st.sampled_from(RADII),
        "seconds": st.just(0.5),
    }
)


# The lines are the same with both, and tracing them takes time.
@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.no_cover)])
def database(
    request: pytest.FixtureRequest, initialized: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """A store of this module's own on each database."""
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres_store")
        return
    directory = Path(shutil.copytree(initialized, tmp_path_factory.mktemp("find") / "data"))
    with TiledStore(directory) as store:
        yield store


Documents = tuple[dict[str, Any], dict[str, Any] | None]
"""Start and stop of a run; None of an open one."""


def new_catalog(database: Store, runs: list[Documents]) -> Any:
    """Make a catalog of runs that have no more than their start and stop documents."""
    root: Any = from_context(database.runs.context)
    spec = Spec("CatalogOfBlueskyRuns", version="3.0")
    catalog = root.create_container(f"generated-{uuid.uuid4()}", specs=[spec])
    for start, stop in runs:
        metadata = {"start": start} if stop is None else {"start": start, "stop": stop}
        catalog.create_container(start["uid"], metadata=metadata, specs=[Spec("BlueskyRun", version="3.0")])
    return catalog


def labelled(*labels: int) -> Documents:
    """Give a run in which one frame each got these labels."""
    summary = {"labels": sorted(labels), "counts": {str(n): 1 for n in labels}}
    uid = str(uuid.uuid4())
    return {"uid": uid, "time": 1e9}, {"uid": f"stop-{uid}", SUMMARY: summary}


@st.composite
def _runs(draw: st.DrawFn) -> list[Documents]:
    runs: list[Documents] = []
    for _ in range(draw(st.integers(1, 5))):
        start = draw(METADATA) | {
            "uid": str(uuid.uuid4()),
            "time": draw(st.sampled_from(TIMES)),
            "plan_name": draw(TEXTS),
        }
        stop: dict[str, Any] | None = {"uid": "stop", "exit_status": "success"}
        kind = draw(st.sampled_from(["classified"] * 4 + ["open", "foreign"]))
        if kind == "open":
            stop = None
        elif kind == "classified":
            counts = draw(st.dictionaries(st.sampled_from(LABELS), st.integers(1, 3), max_size=3))
            summary: dict[str, Any] = {
                "labels": sorted(counts),
                "counts": {str(n): count for n, count in counts.items()},
                "model": draw(TEXTS),
                "model_version": draw(TEXTS),
                "flagged": draw(st.sampled_from([0, 1, 10])),
                "deferred": draw(st.sampled_from([0, 1, 10])),
            }
            if flags := draw(st.dictionaries(st.sampled_from(FLAGS), st.integers(1, 3), max_size=2)):
                summary["flags"] = flags
            if possible := draw(st.dictionaries(st.sampled_from(LABELS), st.integers(1, 3), max_size=3)):
                summary["possible"] = {str(n): count for n, count in possible.items()}
            if counts:
                summary["min_confidence"] = draw(st.sampled_from(CONFIDENCES))
            stop = {"uid": "stop", "exit_status": "success", SUMMARY: summary}
            opinions = StructureCounts()
            for opinion in draw(st.lists(OPINIONS, max_size=3)):
                opinions.add(opinion, draw(st.sampled_from([0, 2, 12])))
            if opinions.frames:
                stop[STRUCTURE_SUMMARY] = opinions.summary()
        runs.append((start, stop))
    return runs


FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "label": st.sampled_from(LABELS),
    "possible": st.sampled_from(LABELS),
    "max_confidence": st.sampled_from(CONFIDENCES),
    "model": TEXTS,
    "model_version": TEXTS,
    "flag": st.sampled_from(FLAGS),
    "flagged": st.booleans(),
    "deferred": st.booleans(),
    "since": st.sampled_from(TIMES),
    "until": st.sampled_from(TIMES),
    "plan": TEXTS,
    "certificate": st.sampled_from(Opinion),
    "disagrees": st.booleans(),
    "mean_radius": BOUNDS,
    "radius_spread": BOUNDS,
}


@st.composite
def _question(draw: st.DrawFn, runs: list[Documents]) -> dict[str, Any]:
    """Ask for one or two things, for metadata that a run has more often than not."""
    question: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from([*FILTERS, "metadata"]), min_size=1, max_size=2, unique=True)):
        if name == "metadata":
            start = draw(st.sampled_from(runs))[0]
            key = draw(st.sampled_from(sorted(start)) | KEYS)
            value: Any = start.get(key)
            if isinstance(value, dict) and value and draw(st.booleans()):
                inner = draw(st.sampled_from(sorted(value)))
                key, value = f"{key}.{inner}", value[inner]
            question[name] = {key: value if draw(st.booleans()) else draw(VALUES)}
        else:
            start, stop = draw(st.sampled_from(runs))
            summary = (stop or {}).get(SUMMARY, {})
            own = {"since": start["time"], "until": start["time"], "plan": start["plan_name"]}
            own |= {"max_confidence": summary.get("min_confidence"), "model": summary.get("model")}
            for radii in ("mean_radius", "radius_spread"):
                if of_run := (stop or {}).get(STRUCTURE_SUMMARY, {}).get(radii):
                    own[radii] = (of_run["mean"], of_run["mean"])
            value = own.get(name) if draw(st.booleans()) else None
            question[name] = draw(FILTERS[name]) if value is None else value
    return question


def canonical(value: Any) -> Any:
    """Give what is equal for equal values only: a number is neither a bool nor a text."""
    if isinstance(value, dict):
        return "mapping", frozenset((key, canonical(other)) for key, other in value.items())
    if isinstance(value, list):
        return "list", tuple(map(canonical, value))
    return "bool" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "", value


def has(start: dict[str, Any], key: str, value: Any) -> bool:
    found: Any = start
    for part in key.split("."):
        if not (isinstance(found, dict) and part in found):
            return False
        found = found[part]
    return bool(canonical(found) == canonical(value))


def matches(start: dict[str, Any], stop: dict[str, Any] | None, question: Mapping[str, Any]) -> bool:
    """Say by reading its documents whether a run is the one that was asked for."""
    summary = (stop or {}).get(SUMMARY, {})
    opinions = (stop or {}).get(STRUCTURE_SUMMARY, {})

    def mean_within(name: str, bounds: tuple[float, float]) -> bool:
        return name in opinions and bounds[0] <= opinions[name]["mean"] <= bounds[1]

    answers = {
        "label": lambda n: n in summary.get("labels", ()),
        "possible": lambda n: str(n) in summary.get("possible", {}),
        "max_confidence": lambda limit: summary.get("min_confidence", math.inf) < limit,
        "model": lambda name: summary.get("model") == name,
        "model_version": lambda version: summary.get("model_version") == version,
        "flag": lambda flag: flag in summary.get("flags", {}),
        "flagged": lambda wanted: "flagged" in summary and (summary["flagged"] > 0) == wanted,
        "deferred": lambda wanted: "deferred" in summary and (summary["deferred"] > 0) == wanted,
        "since": lambda when: start["time"] >= when,
        "until": lambda when: start["time"] < when,
        "plan": lambda name: start["plan_name"] == name,
        "metadata": lambda asked: all(has(start, key, value) for key, value in asked.items()),
        "certificate": lambda wanted: opinions.get(wanted, 0) > 0,
        "disagrees": lambda wanted: "disagree" in opinions and (opinions["disagree"] > 0) == wanted,
        "mean_radius": lambda bounds: mean_within("mean_radius", bounds),
        "radius_spread": lambda bounds: mean_within("radius_spread", bounds),
    }
    return all(answers[name](value) for name, value in question.items())


@settings(max_examples=8, phases=WITHOUT_SHRINKING)
@given(data=st.data())
def test_runs_of_a_generated_catalog(database: Store, data: st.DataObject) -> None:
    runs = data.draw(_runs())
    catalog = new_catalog(database, runs)
    stored_labels = {n for _, stop in runs for n in (stop or {}).get(SUMMARY, {}).get("labels", ())}
    for question in data.draw(st.lists(_question(runs), min_size=6, max_size=6)):
        asked = [question[name] for name in ("label", "possible") if name in question]
        if unknown := [n for n in asked if n not in {*CLASSES, *stored_labels}]:
            with pytest.raises(ValueError, match=f"no network gives the label {unknown[0]}: there are"):
                find_runs(catalog, **question)
            continue
        if question.get("since", 0) >= question.get("until", math.inf):
            with pytest.raises(ValueError, match="exchange them"):
                find_runs(catalog, **question)
            continue
        expected = {start["uid"] for start, stop in runs if matches(start, stop, question)}
        found = find_runs(catalog, **question)
        assert set(found) == expected, question
        assert len(found) == len(expected)
        # What `speckle query` and `speckle retrain` do with the same.
        metadata = question.pop("metadata", {})
        where = [f"{key}={json.dumps(value)}" for key, value in metadata.items()]
        assert set(run_selection(where, **question).find(catalog)) == expected, (where, question)


def test_every_value_against_every_other(database: Store) -> None:
    """Each awkward value is stored in one run, and asked for: in metadata, and a text as a name too."""
    values: list[Any] = [*NAMES, *ODD_TEXTS, *NUMBERS, True, False, None, *WHOLES]
    runs: list[Documents] = [({"uid": str(uuid.uuid4()), "time": 1.0, "plan_name": "count"}, None)]
    for value in values:
        name = value if isinstance(value, str) else "count"
        start = {"uid": str(uuid.uuid4()), "time": 1.0, "plan_name": name, "k": value, "in": {"k": value}}
        runs.append((start, {"uid": "stop", SUMMARY: {"model": name, "model_version": name}}))
    catalog = new_catalog(database, runs)
    for value in values:
        questions: list[dict[str, Any]] = [{"metadata": {"k": value, "in.k": value}}]
        if isinstance(value, str):
            questions += [{"model": value}, {"model_version": value}, {"plan": value}]
        for question in questions:
            expected = {start["uid"] for start, stop in runs if matches(start, stop, question)}
            assert expected and set(find_runs(catalog, **question)) == expected, question


def test_bounds(database: Store) -> None:
    """Each time and each confidence is a bound of the others and of itself."""
    runs: list[Documents] = []
    for when, confidence in itertools.zip_longest(TIMES, CONFIDENCES, fillvalue=TIMES[0]):
        start = {"uid": str(uuid.uuid4()), "time": when}
        runs.append((start, {"uid": "stop", SUMMARY: {"min_confidence": confidence}}))
    catalog = new_catalog(database, runs)
    questions: list[dict[str, Any]] = [{"max_confidence": confidence} for confidence in CONFIDENCES]
    questions += [{name: when} for name in ("since", "until") for when in TIMES]
    for question in questions:
        expected = {start["uid"] for start, stop in runs if matches(start, stop, question)}
        assert set(find_runs(catalog, **question)) == expected, question


@pytest.mark.parametrize("label", [1, 2, 12, 20])
def test_labels_that_contain_each_other(database: Store, label: int) -> None:
    labels = [(12,), (20,), (2,), (2, 12)]
    runs = [labelled(*numbers) for numbers in labels]
    catalog = new_catalog(database, runs)
    if label == 1:
        with pytest.raises(ValueError, match="no network gives the label 1: there are 2, 3, 4, "):
            find_runs(catalog, label=label)
        return
    expected = {run[0]["uid"] for run, numbers in zip(runs, labels, strict=True) if label in numbers}
    assert len(expected) == {2: 2, 12: 2, 20: 1}[label]
    assert set(find_runs(catalog, label=label)) == expected


def test_labels_of_networks_that_are_not_shipped(database: Store) -> None:
    """Of another network are known: labels that frames got, and since 0.2 all that it could have given."""
    uid = str(uuid.uuid4())
    summary = {"labels": [2], "counts": {"2": 1}, "classes": [1, 2, 30]}
    other: Documents = ({"uid": uid, "time": 1.0}, {"uid": "stop", SUMMARY: summary})
    catalog = new_catalog(database, [other, labelled(25)])
    assert len(find_runs(catalog, label=25)) == 1
    assert len(find_runs(find_runs(catalog, until=0), label=25)) == 0
    assert len(find_runs(catalog, label=30)) == 0
    for label in (0, 26):
        known = "2, .* 20, 25, 30. Frames without a label are found by their status"
        with pytest.raises(ValueError, match=f"no network gives the label {label}: there are 1, {known}"):
            find_runs(catalog, label=label)
        with pytest.raises(ValueError, match=f"no network gives the label {label}"):
            find_frames(catalog, label=label)


def test_what_was_found_is_searched_further(database: Store) -> None:
    first, second = labelled(2), labelled(12)
    for value, (start, _) in zip((1, True), (first, second), strict=True):
        start["k"] = value
    catalog = new_catalog(database, [first, second])
    ones = find_runs(catalog, metadata={"k": 1})
    assert list(ones) == [first[0]["uid"]]
    assert list(find_runs(ones, label=2)) == list(ones)
    assert list(find_runs(ones, label=12)) == []
    assert list(find_runs(ones, metadata={"k": True})) == []


def test_more_runs_than_a_query_can_name(database: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = labelled(2), labelled(12)
    first[0]["k"], second[0]["k"] = [1], [True]
    catalog = new_catalog(database, [first, second])
    monkeypatch.setattr("speckle_plugin.store.read.exact._MOST_NAMED_RUNS", 0)
    with pytest.raises(ValueError, match="1 of 2 runs match, .* give more conditions, such as since"):
        find_runs(catalog, metadata={"k": [1]})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"flag": "bright"}, ValueError, "no flag 'bright': there are wrong_shape, "),
        ({"possible": 1}, ValueError, "no network gives the label 1: there are 2, 3, 4, "),
        ({"possible": "7"}, TypeError, "possible must be a disk number, an int such as 7, not '7'"),
        ({"possible": True}, TypeError, "possible must be a disk number, an int such as 7, not True"),
        ({"possible": 7.0}, TypeError, "possible must be a disk number, an int such as 7, not 7.0"),
        ({"flagged": "no"}, TypeError, "flagged must be True or False, not 'no'"),
        ({"deferred": 1}, TypeError, "deferred must be True or False, not 1"),
        ({"metadata": {"a..b": 1}}, ValueError, "'start.a..b' has an empty part"),
        ({"metadata": {"": 1}}, ValueError, "'start.' has an empty part"),
        ({"metadata": {"k": {1, 2}}}, TypeError, "start.k can't be {1, 2}"),
    ],
)
def test_nonsense(database: Store, arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        find_runs(database.runs, **arguments)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("k=1", 1),
        ('k="1"', "1"),
        ("k=00012", "00012"),
        ("k=12e4567", "12e4567"),  # a hash, not infinity
        ("k=NaN", "NaN"),
        ("k=true", True),
        ("k=a=b", "a=b"),
    ],
)
def test_where(text: str, value: Any) -> None:
    assert run_selection([text]).metadata == {"k": value}
    assert type(run_selection([text]).metadata["k"]) is type(value)


class Told(NamedTuple):
    """What a second opinion says of a frame."""

    certificate: Opinion
    disk_number: int = 0
    mean_radius: float = math.nan
    radius_spread: float = math.nan


SOLVED, UNDECIDED = Opinion.SOLVED, Opinion.UNDECIDED
Row = tuple[tuple[str, int, float, str], Told | None]
"""What the network and the second opinion say of a frame."""
ROWS: list[list[Row]] = [
    [
        (good(2, 0.3), None),
        (good(12, 0.1 + 0.2), Told(SOLVED, 12, 41.5, 0.0)),
        (good(20, 0.5, "saturated"), Told(SOLVED, 2, math.nextafter(41.5, 99), 0.1 + 0.2)),
    ],
    [(good(12, 0.9), None), (good(12, 1.0, "saturated,negative"), None)],
    [
        (good(2, 0.1, "negative"), Told(UNDECIDED, 12, 60.0, 41.5)),
        (("flagged", 0, 0.0, "empty,saturated"), Told(SOLVED, 2, 60.0, 60.0)),
        (("deferred", 0, 0.0, ""), Told(Opinion.LEFT)),
    ],
    [(("flagged", 0, 0.0, "wrong_shape"), Told(Opinion.NOT_EXPLAINED)), (("deferred", 0, 0.0, ""), None)],
    [(good(12), Told(SOLVED, 12, 60.0, 1e-300)), (good(2), Told(UNDECIDED))],
]


@pytest.fixture(scope="module")
def rows(database: Store) -> dict[tuple[str, int], Row]:
    """What each frame of some runs got, by run and index; the runs are stored whole."""
    found = {}
    for frames in ROWS:
        uid = store_run(database, [result for result, _ in frames], [told for _, told in frames])
        found.update({(uid, index): frame for index, frame in enumerate(frames)})
    return found


def store_run(
    database: Store,
    results: list[Any],
    opinions: list[Told | None] | None = None,
    *,
    forget_flags: bool = False,
) -> str:
    uid = str(uuid.uuid4())
    saver = RunSaver(database.runs, database.journal_directory)
    settings = SolveSettings(most_disks=2)  # as an array in a table PostgreSQL refused it
    configuration = solver_configuration("all", 1.0, settings, FrameSettings().to_configuration())
    second = StructureResults({"uid": uid}, saver, settings, configuration)

    def save(name: str, doc: dict[str, Any]) -> None:
        if name == "stop":
            for index, told in enumerate(opinions or ()):
                if told is not None:
                    frame = {"image_key": "det_image", "frame_index": index, "primary_seq_num": index + 1}
                    row = {**opinion_row("not begun", FEWEST_ROWS), **told._asdict(), **frame}
                    second.take_over(row, results[index][1], 1e9)
            doc = second.stop(doc)
        if name == "stop" and forget_flags:  # as versions before 0.2 ended a run from its journal
            summary = {key: value for key, value in doc[SUMMARY].items() if key != "flags"}
            doc = {**doc, "reason": RECOVERED, SUMMARY: summary}
        saver(name, doc)

    classifier = FakeClassifier(save, results)
    for name, doc in documents_of(uid, range(1, 1 + len(results)), database.frames_directory):
        classifier(name, doc)
    saver.close()
    return uid


def among(database: Store, uids: Iterable[str]) -> Any:
    """Give a catalog of these runs only: to read those of other tests as well takes time."""
    runs: Any = database.runs
    return runs.search(In("start.uid", sorted(set(uids))))


FRAME_FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "label": st.sampled_from([2, 3, 12, 20]),
    "possible": st.sampled_from([2, 3, 11, 12, 13, 20]),
    "min_confidence": st.sampled_from(CONFIDENCES),
    "max_confidence": st.sampled_from(CONFIDENCES),
    "flag": st.sampled_from([Flag.SATURATED, Flag.NEGATIVE, Flag.EMPTY, Flag.WRONG_SHAPE, Flag.NON_FINITE]),
    "status": st.sampled_from(list(Status)),
    "image_key": st.sampled_from(["det_image", "det_image2", "det"]),
    "x": st.tuples(st.sampled_from([0, 0.5]), st.sampled_from([0.5, 1, 10])),
    "stream": st.sampled_from([CLASSIFICATION_STREAM, f"{CLASSIFICATION_STREAM}_2"]),
    "certificate": st.sampled_from(Opinion),
    "disagrees": st.booleans(),
    "mean_radius": BOUNDS,
    "radius_spread": BOUNDS,
}


@settings(max_examples=8, phases=WITHOUT_SHRINKING)
@given(data=st.data())
def test_frames(database: Store, rows: dict[tuple[str, int], Row], data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(list(FRAME_FILTERS)), min_size=1, max_size=2, unique=True))
    question = {name: data.draw(FRAME_FILTERS[name]) for name in names}

    def matches(index: int, result: tuple[str, int, float, str], told: Told | None) -> bool:
        status, disk_number, confidence, flags = result
        solved = told if told is not None and told.certificate == SOLVED else None
        answers = {
            "label": lambda n: disk_number == n,
            "possible": lambda n: n in possible_numbers(disk_number, confidence),
            "min_confidence": lambda limit: status == "classified" and confidence >= limit,
            "max_confidence": lambda limit: status == "classified" and confidence < limit,
            "flag": lambda flag: flag in flags.split(","),
            "status": lambda wanted: status == wanted,
            "image_key": lambda key: key == "det_image",
            "x": lambda bounds: bounds[0] <= index <= bounds[1],
            "stream": lambda name: name == "classification",
            "certificate": lambda wanted: told is not None and told.certificate == wanted,
            "disagrees": lambda wanted: (
                solved is not None
                and status == "classified"
                and (solved.disk_number != disk_number) == wanted
            ),
            "mean_radius": lambda bounds: solved and bounds[0] <= solved.mean_radius <= bounds[1],
            "radius_spread": lambda bounds: solved and bounds[0] <= solved.radius_spread <= bounds[1],
        }
        return all(answers[name](value) for name, value in question.items())

    expected = {key for key, row in rows.items() if matches(key[1], *row)}
    arguments = {name: value for name, value in question.items() if name != "x"}
    if "x" in question:
        arguments["positions"] = {"x": question["x"]}
    table = find_frames(among(database, (uid for uid, _ in rows)), **arguments)
    found = list(zip(table["run_uid"], table["frame_index"], strict=True))
    assert len(found) == len(expected) and set(found) == expected, question


def test_flags_that_a_recovered_summary_does_not_count(database: Store) -> None:
    """Versions before 0.2 left flags out of the summary of a run that they recovered: its rows tell."""
    results = [good(2, 0.9, "saturated"), good(2)]
    whole, recovered = (store_run(database, results, forget_flags=forget) for forget in (False, True))
    other = store_run(database, [good(2, 0.9, "negative")], forget_flags=True)
    runs = among(database, (whole, recovered, other))
    assert set(find_runs(runs, flag="saturated")) == {whole, recovered}
    assert set(find_runs(runs, flag=Flag.NEGATIVE)) == {other}
    assert set(find_runs(runs, flag="empty")) == set()
    assert set(find_frames(runs, flag="saturated")["run_uid"]) == {whole, recovered}


def test_what_is_possible_of_frames_that_are_odd(database: Store) -> None:
    """As by their label, odd frames are found where they are asked for, and not else."""
    odd, known = (store_run(database, [good(7, 0.3, flags)]) for flags in ("out_of_distribution", ""))
    runs = among(database, (odd, known))
    for number in (6, 7, 8):
        assert set(find_runs(runs, possible=number)) == {known}
        assert set(find_frames(runs, possible=number)["run_uid"]) == {known}
        assert set(find_frames(runs, possible=number, with_odd=True)["run_uid"]) == {odd, known}
    assert find_frames(runs, possible=9, with_odd=True).empty
    (text,) = find_frames(database.runs[known])["possible"]
    assert text == "6,7,8"
