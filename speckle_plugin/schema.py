"""Every stream, key and spec name that the plugin writes or reads, once.

A run that passed through the live pipeline has a second stream, `classification`, with
one event for each frame, and a summary under `classification` in its stop document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, get_args

__all__ = [
    "ASSUMED_CENTER",
    "Asked",
    "BEAM_CENTER",
    "BEAM_CENTER_NAMES",
    "CHOSEN_AMONG",
    "CLASSES",
    "CLASS_NAMES",
    "CLASSIFICATION_STREAM",
    "CLASSIFIER",
    "COUNTS",
    "DARKS",
    "DIVIDE_BY_FLATS",
    "FLAG_COUNTS",
    "FLATS",
    "GIVEN_K_STEP",
    "IMAGE_KEYS",
    "K_STEP_NAMES",
    "LABELS",
    "LEAVE_OUT",
    "LEFT_OUT",
    "MASKS",
    "NETWORKS",
    "NEWEST_STREAM",
    "NO_DISK_NUMBER",
    "ODD_IN",
    "ODD_COUNTS",
    "ORIENTATION",
    "OrientationName",
    "POSSIBLE",
    "SEVERAL_NETWORKS",
    "STATED_BY_FILES",
    "STRUCTURE_SOLVER",
    "STRUCTURE_STREAM",
    "STRUCTURE_SUMMARY",
    "SUBTRACT_DARKS",
    "SUMMARY",
    "UNFIT",
    "Flag",
    "Opinion",
    "Status",
    "check_asked",
    "compose_summary",
    "configuration_keys",
    "join_flags",
    "join_numbers",
    "image_key_of",
    "newest_stream",
    "newest_structure_stream",
    "result_keys",
    "split_flags",
    "split_numbers",
    "split_image_key",
    "structure_configuration_keys",
    "structure_keys",
]

CLASSIFICATION_STREAM = "classification"
"""Name of the stream of results. Results that are completed later are in `classification_2`, and so on."""

PRIMARY = "primary"
"""Name of the stream of a scan's points, by bluesky's custom."""

STRUCTURE_STREAM = "structure"
"""Name of the stream of second opinions: the disks that frames were solved for. Those of later are in
`structure_2`, and so on."""

STRUCTURE_SOLVER = "structure_solver"
"""Name of the object whose configuration (settings, which frames) stands in that stream's descriptor."""

STRUCTURE_SUMMARY = "structure"
"""Key of the summary of second opinions in the stop document."""

CLASSIFIER = "classifier"
"""Name of the object whose configuration (model, engine) stands in the stream's descriptor."""

SUMMARY = "classification"
"""Key of the summary in the stop document."""

NEWEST_STREAM = "stream"
"""Key in the summary for the name of the newest result stream, which the summary is of."""

LEFT_OUT = "left_out"
"""Key in the summary for images that are no frames to classify: image key and reason."""
CLASSES = "classes"
"""The disk numbers that the network tells apart, in the classifier's configuration and in the summary."""

LABELS, COUNTS, FLAG_COUNTS = "labels", "counts", "flags"
"""Keys in the summary: the disk numbers that frames got, the frames of each by its number as text, and
the frames of each flag by its name."""

ODD_COUNTS = "odd_counts"
"""Key in the summary: the frames of each disk number that are flagged as out of distribution, which are not
in `counts`; only where there are any. Until version 0.1.0 they were in `counts`."""

POSSIBLE = "possible"
"""Key in results: the disk numbers that are possible for the frame, see `result_keys`. Key in the summary:
the frames for which each number is possible, but for those out of distribution; only if there are any."""

CLASSIFIED_HERE = "classified_by_session"
"""In the metadata of a run whose own session classifies it: others leave it alone while it is measured."""

GIVEN_K_STEP = "given_k_step"
"""In the classifier's configuration: the k step of detectors that do not state theirs; 0 for none."""

K_STEP_NAMES = "k_step_names"
"""In the classifier's configuration: by which names detectors state wavelength, distance and size of a pixel;
none for `NAME_pitch` alone."""

BEAM_CENTER_NAMES = "beam_center_names"
"""In the classifier's configuration: by which names detectors state row and column of the beam; none for
`NAME_beam_center` alone."""

IMAGE_KEYS, BEAM_CENTER, MASKS = "image_keys", "beam_center", "masks"
"""What the session was told of the frames, in the classifier's configuration: the data keys to
classify (none: all), the beam centre of detectors that do not state theirs (none, or row and
column), and `KEY SHA-256` for each mask."""

CLASS_NAMES = "class_names"
"""The names of classes that are no disk numbers, beside `classes`; without it they are disk numbers."""

CHOSEN_AMONG = "chosen_among"
"""In the classifier's configuration: the SHA-256 of the networks among which each detector's k step chooses;
none where one was asked for by name."""

NETWORKS, SEVERAL_NETWORKS = "networks", "several_networks"
"""Keys in the summary: which network each image key had, and why; and true where they are not all one."""

LEAVE_OUT, DARKS, SUBTRACT_DARKS = "leave_out", "darks", "subtract_darks"
FLATS, DIVIDE_BY_FLATS = "flats", "divide_by_flats"
"""The same, of images that are not classified: those that the user does not want, dark frames, flat fields,
and 1 if frames were corrected by these."""

ORIENTATION = "orientation"
"""The same: how frames are turned before masks and that beam centre fit them."""

STATED_BY_FILES = "stated_by_files"
"""Key in the summary for what detectors' files said of their frames, by image key."""

SUMMARIZED_CONFIGURATION = ("model", "model_version", "weights_sha256", "engine", CLASSES, CHOSEN_AMONG)
"""What the summary repeats of the classifier's configuration."""

OrientationName = Literal[
    "as-stored",
    "upside-down",
    "mirrored",
    "half-turn",
    "left-turn",
    "right-turn",
    "transposed",
    "anti-transposed",
]
"""How frames may be turned; :mod:`speckle_plugin.preprocessing.orientation` does it."""

Asked = Literal["none", "unsure", "all"]
"""Frames of which a second opinion is asked. `unsure`: those of which the network is not sure."""

NO_DISK_NUMBER = 0
"""`disk_number` of a frame that got no label."""

TRUTH_SUFFIX = "_truth_disk_number"
"""A simulated detector `det` records the true disk number of its frames under `det_truth_disk_number`."""

STREAMED_TRUTH_SUFFIX = "-truth_disk_number"
"""An ophyd-async one records it in a stream of its own, `det-truth_disk_number` for the frames `det`."""

BEAM_CENTER_SUFFIX = "_beam_center"
PITCH_SUFFIX = "_pitch"
SATURATION_SUFFIX = "_saturation_level"
ORIENTATION_SUFFIX = "_orientation"
"""Configuration attributes of a detector `det` are read under `det_beam_center` (row, column), `det_pitch`
(wave number per pixel), `det_saturation_level` and `det_orientation` (one of the eight by its name)."""


ASSUMED_CENTER = (0.0, 0.0)
"""Beam centre (row, column) that is taken where nobody says where it is; then frames are flagged for it."""


class Status(StrEnum):
    """What became of a frame. Every frame has one; the three add up to the frames of the run."""

    CLASSIFIED = "classified"
    FLAGGED = "flagged"
    """No label, for the reason in `flags`."""
    DEFERRED = "deferred"
    """No label yet: to be classified from the stored frame."""


class Opinion(StrEnum):
    """What became of a frame for which a second opinion was asked; the four add up to these frames.

    The first three are the certificates of :mod:`speckle_plugin.structure`.
    """

    SOLVED = "solved"
    """The disks are proven: they explain the frame, and no other could hide."""
    NOT_EXPLAINED = "not_explained"
    UNDECIDED = "undecided"
    LEFT = "left"
    """Not solved yet: to be solved from the stored frame."""


class Flag(StrEnum):
    """What is to be known of a frame; the first group leaves it without a label."""

    WRONG_SHAPE = "wrong_shape"
    NON_FINITE = "non_finite"
    EMPTY = "empty"
    """No pixel above 0, or all alike."""
    UNREADABLE = "unreadable"
    UNUSABLE_GEOMETRY = "unusable_geometry"
    """Mask or beam centre do not fit the frame, or leave too little of it."""
    WRONG_K_STEP = "wrong_k_step"
    """No network is for the detector's k step, and none was asked for by name."""

    SATURATED = "saturated"
    NEGATIVE = "negative"
    OTHER_PITCH = "other_pitch"
    """The detector's pixels are of a wholly other k step than those that the network was trained on. It was
    asked for by name, and so there is a label."""
    RESAMPLED = "resampled"
    """The detector's k step is near that of the network, and the frame was brought to it."""
    ASSUMED_CENTER = "assumed_center"
    """The detector does not say where the beam is; pixel (0, 0) was taken."""
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    """The frame is unlike all that the network was trained on. One of the next says in what, and which
    detector of oddness spoke."""
    ODD_FEATURES = "odd_features"
    """The network's features lie far from those of known frames."""
    ODD_STATISTICS = "odd_statistics"
    """Profile, contrast, neighbours, lines and map together lie far from those of known frames."""
    ODD_NUMBER = "odd_number"
    """Fewer or more disks than the network tells apart."""
    ODD_K_STEP = "odd_k_step"
    ODD_PIXELS = "odd_pixels"
    """Hot or dead pixels."""
    ODD_LINES = "odd_lines"
    """Rows or columns without counts, or a step of gain."""
    ODD_BEAM = "odd_beam"
    """The beam is not where it is said to be."""
    ODD_CONTRAST = "odd_contrast"
    """Blur, motion or partial coherence."""
    ODD_NOISE = "odd_noise"
    """Other noise than that of photons, a background, or saturation."""
    ODD_SHAPE = "odd_shape"
    """No disks, or disks of other radii."""
    ODD_MASK = "odd_mask"
    """A beam stop or mask hides more around the beam than the network can miss."""
    CENTER_DISAGREES = "center_disagrees"
    """The detector's frames show the beam elsewhere than where it was taken."""
    HOT_PIXELS = "hot_pixels"
    """The detector has pixels that stand out as no speckle does, and no mask leaves them out."""
    NO_DARK = "no_dark"
    """A dark frame was to be subtracted, and there is none that fits."""
    NO_FLAT = "no_flat"
    """The frame was to be divided by a flat field, and there is none that fits."""


ODD_IN: dict[Flag, str] = {
    Flag.ODD_FEATURES: "the network finds it unlike what it knows, without telling in what",
    Flag.ODD_STATISTICS: "profile, contrast and noise together are unlike those of known frames",
    Flag.ODD_NUMBER: "fewer or more disks than the network tells apart",
    Flag.ODD_K_STEP: "speckles of another size: is the k step that of the network?",
    Flag.ODD_PIXELS: "hot or dead pixels: mask them",
    Flag.ODD_LINES: "rows or columns without counts, or a step of gain: mask or correct them",
    Flag.ODD_BEAM: "the beam is not where it is said to be: speckle center finds it",
    Flag.ODD_CONTRAST: "less contrast than coherent light gives: blur, motion, or partial coherence",
    Flag.ODD_NOISE: "other noise than that of photons, a background, or saturation",
    Flag.ODD_SHAPE: "no disks, or disks of radii that the network does not know",
    Flag.ODD_MASK: "a beam stop or mask hides more around the beam than the network can miss",
}
"""Flags beside `out_of_distribution`: in what a frame is odd; the first two say that a distance spoke."""


UNFIT = frozenset(
    {
        Flag.WRONG_SHAPE,
        Flag.NON_FINITE,
        Flag.EMPTY,
        Flag.UNREADABLE,
        Flag.UNUSABLE_GEOMETRY,
        Flag.WRONG_K_STEP,
    }
)
"""Flags that leave a frame without a label."""


def image_key_of(stream: str, data_key: str) -> str:
    """Give the name of a stream's images in results: `det_image`, or `baseline/det_image` beside `primary`.

    One detector may be read in several streams of a run; frames are counted in each by itself.
    """
    return data_key if stream == PRIMARY else f"{stream}/{data_key}"


def split_image_key(image_key: str) -> tuple[str | None, str]:
    """Give stream and data key of an image key; None for the stream where it does not say.

    Then it is `primary`, but for runs of older versions.
    """
    stream, _, data_key = image_key.rpartition("/")
    return stream or None, data_key


def join_flags(flags: Sequence[Flag]) -> str:
    """Write flags as one string, as they stand in the table: `saturated,negative`."""
    return ",".join(flags)


def split_flags(text: str) -> list[Flag]:
    """Read them again."""
    return [Flag(part) for part in text.split(",") if part]


def join_numbers(numbers: Sequence[int]) -> str:
    """Write disk numbers as one string, as they stand in the table: `6,7,8`."""
    return ",".join(map(str, numbers))


def split_numbers(text: str) -> tuple[int, ...]:
    """Read them again."""
    return tuple(int(part) for part in text.split(",") if part)


def result_keys(class_count: int) -> dict[str, dict[str, Any]]:
    """Give the data keys of an event of the classification stream.

    Parameters
    ----------
    class_count : int
        Number of classes of the model.

    Returns
    -------
    dict
        Data keys, each with `dtype`, `dtype_numpy`, `shape`, `source`. Units are seconds
        for `latency` and nats for `entropy`. `possible` is empty where there is no label, or nothing was
        fitted that tells which numbers are possible; runs of versions before 0.2 do not have it.
    """
    return {
        "image_key": _key("string", "|S64"),
        "frame_index": _key("integer", "<i8"),
        "primary_seq_num": _key("integer", "<i8"),
        "status": _key("string", "|S16"),
        "disk_number": _key("integer", "<i8"),
        "confidence": _key("number", "<f8"),
        "probabilities": _key("array", "<f4", (class_count,), dims=["class"]),
        "entropy": _key("number", "<f8", units="nat"),
        "novelty": _key("number", "<f8"),
        "flags": _key("string", "|S128"),
        POSSIBLE: _key("string", "|S500"),
        "latency": _key("number", "<f8", units="s"),
    }


def check_asked(asked: Any) -> None:
    """See that a choice of frames is a known one.

    Raises
    ------
    ValueError
        If it is not.
    """
    if asked not in get_args(Asked):
        raise ValueError(
            f"second_opinion must be 'none', 'unsure' (frames of which the network is not sure) or 'all', "
            f"not {asked!r}"
        )


def structure_keys(most_disks: int) -> dict[str, dict[str, Any]]:
    """Give the data keys of an event of the structure stream.

    Parameters
    ----------
    most_disks : int
        Rows of `disks`; the first `disk_number` of them are filled.

    Returns
    -------
    dict
        Data keys. A row of `disks` is x, y, r and their standard errors, in units of 1 / `k_step`'s unit;
        NaN stands for what is not known.
    """
    numbers = ("residual", "z_score", "weakest_gain", "remaining_gain", "hidden_radius")
    model = ("scale", "background", "center_row", "center_column", "k_step", "point_spread")
    return {
        "image_key": _key("string", "|S64"),
        "frame_index": _key("integer", "<i8"),
        "primary_seq_num": _key("integer", "<i8"),
        "certificate": _key("string", "|S16"),
        "reason": _key("string", "|S500"),
        "disk_number": _key("integer", "<i8"),
        "mean_radius": _key("number", "<f8"),
        "radius_spread": _key("number", "<f8"),
        "disks": _key("array", "<f8", (most_disks, 6), dims=["disk", "value"]),
        **{name: _key("number", "<f8") for name in (*numbers, *model)},
        "starts": _key("integer", "<i8"),
        "seconds": _key("number", "<f8", units="s"),
    }


def structure_configuration_keys() -> dict[str, dict[str, Any]]:
    """Give the data keys of the solver's configuration in that stream's descriptor."""
    keys = {name: _key("string", "|S128") for name in ("asked", "version", "settings")}
    keys["max_confidence"] = _key("number", "<f8")
    return keys | _frame_settings_keys()


def newest_structure_stream(stop: Mapping[str, Any] | None) -> str | None:
    """Give the name of the newest stream of structures of a finished run; None if it has none."""
    summary = (stop or {}).get(STRUCTURE_SUMMARY) or {}
    return summary.get(NEWEST_STREAM)


def compose_summary(
    labels: Mapping[int, int],
    statuses: Mapping[Status, int],
    flags: Mapping[str, int],
    lowest_confidence: float | None,
    model: Mapping[str, Any],
    odd_labels: Mapping[int, int] | None = None,
    possible: Mapping[int, int] | None = None,
) -> dict[str, Any]:
    """Compose the summary of a stop document, by which runs are searched.

    Parameters
    ----------
    labels : mapping of int to int
        Number of frames of each disk number, or of each class by its number, without those out of
        distribution.
    statuses : mapping of Status to int
        The frame counts: their sum is the number of frames.
    flags : mapping of str to int
        Number of frames of each flag.
    lowest_confidence : float or None
        Of the classified frames; None without any.
    model : mapping
        The classifier's configuration, as in the stream's descriptor; may be empty.
    odd_labels : mapping of int to int, optional
        Number of frames of each disk number that are out of distribution: they are not to be found by it.
    possible : mapping of int to int, optional
        Number of frames for which each disk number is possible, without those out of distribution.

    Returns
    -------
    dict
        Plain values. Labels are disk numbers, or the names of classes where the network has such.
    """
    names = dict(zip(model.get(CLASSES, ()), model.get(CLASS_NAMES, ()), strict=False))
    summary: dict[str, Any] = {
        LABELS: [names.get(n, n) for n in sorted(labels)],
        COUNTS: {str(names.get(n, n)): labels[n] for n in sorted(labels)},
        FLAG_COUNTS: dict(flags),
        "frames": sum(statuses.values()),
        **{str(status): statuses.get(status, 0) for status in Status},
        **{key: model[key] for key in SUMMARIZED_CONFIGURATION if key in model},
    }
    if names:
        summary[CLASS_NAMES] = list(names.values())
    if odd_labels:
        summary[ODD_COUNTS] = {str(names.get(n, n)): odd_labels[n] for n in sorted(odd_labels)}
    if possible:
        summary[POSSIBLE] = {str(n): possible[n] for n in sorted(possible)}
    if lowest_confidence is not None:
        summary["min_confidence"] = lowest_confidence
    return summary


def newest_stream(stop: Mapping[str, Any] | None) -> str:
    """Give the name of the newest result stream of a run by its stop document, if it has one yet."""
    return str(((stop or {}).get(SUMMARY) or {}).get(NEWEST_STREAM, CLASSIFICATION_STREAM))


def configuration_keys() -> dict[str, dict[str, Any]]:
    """Give the data keys of the classifier's configuration in the stream's descriptor."""
    names = ("model", "model_version", "weights_sha256", "preprocessing_hash", "trust_sha256")
    keys = {name: _key("string", "|S128") for name in (*names, "engine", "precision", "device")}
    keys["temperature"] = _key("number", "<f8")
    keys[CLASSES] = _key("array", "<i8", (None,))
    keys[CLASS_NAMES] = keys[CHOSEN_AMONG] = _key("array", "|S128", (None,))
    return keys | _frame_settings_keys()


def _frame_settings_keys() -> dict[str, dict[str, Any]]:
    lists = (IMAGE_KEYS, BEAM_CENTER_NAMES, K_STEP_NAMES, MASKS, LEAVE_OUT, DARKS, FLATS)
    keys = {name: _key("array", "|S128", (None,)) for name in lists}
    keys[BEAM_CENTER] = _key("array", "<f8", (None,))
    keys[GIVEN_K_STEP] = _key("number", "<f8")
    keys[SUBTRACT_DARKS] = _key("integer", "<i8")
    keys[DIVIDE_BY_FLATS] = _key("integer", "<i8")
    keys[ORIENTATION] = _key("string", "|S128")
    return keys


def _key(dtype: str, dtype_numpy: str, shape: Sequence[int | None] = (), **more: Any) -> dict[str, Any]:
    return {
        "dtype": dtype,
        "dtype_numpy": dtype_numpy,
        "shape": list(shape),
        "source": "speckle_plugin",
        **more,
    }
