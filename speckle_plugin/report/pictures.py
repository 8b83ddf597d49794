"""The pictures of a report: the run as a map or line, its least certain frames, its solved sample."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.explain.scan_picture import line_picture, scan_picture
from speckle_plugin.explain.style import to_webp
from speckle_plugin.extras import MissingExtraError, extra_needed
from speckle_plugin.network import Bundle
from speckle_plugin.preprocessing.marked_pixels import without_marked_pixels
from speckle_plugin.report.facts import Facts
from speckle_plugin.schema import Opinion, Status

if TYPE_CHECKING:
    from pandas import DataFrame

    from speckle_plugin.explain.saliency import Explanation
    from speckle_plugin.preprocessing import FrameGeometry
    from speckle_plugin.store.read.images import StoredImages

__all__ = ["FramePicture", "frame_pictures", "least_certain", "run_picture", "solved_pictures"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FramePicture:
    """A frame of the report.

    Parameters
    ----------
    title : str
    image : bytes
        As WebP; empty where there is none.
    details : list of str
        What is said beside the picture.
    """

    title: str
    image: bytes
    details: list[str] = field(default_factory=list)


def run_picture(facts: Facts) -> bytes:
    """Draw labels and confidence over the sample: a map, a line, or against time; nothing without labels."""
    frames = facts.frames
    if frames.empty:
        return b""
    truth = frames["truth_disk_number"]
    told = None if truth.isna().any() else truth.to_numpy(int)
    moved = _moved(facts)
    columns = [frames[name].to_numpy(float) for name, _ in moved]
    plain = (frames["disk_number"].to_numpy(int), frames["confidence"].to_numpy(float))
    if len(moved) >= 2 and np.isfinite(columns[0]).all() and np.isfinite(columns[1]).all():
        (_, y_label), (_, x_label) = moved[:2]
        classes = tuple(int(n) for n in facts.stored.model.get("classes") or range(2, 21))
        figure = scan_picture(
            columns[1],
            columns[0],
            *plain,
            told,
            classes=classes,
            title=facts.name,
            axis_labels=(x_label, y_label),
        )
    elif len(moved) == 1 and np.isfinite(columns[0]).all():
        figure = line_picture(columns[0], *plain, told, facts.name, moved[0][1])
    else:
        times = frames["time"].to_numpy(float)
        if np.isfinite(times).all() and (times > 0).all():
            position, label = times - float(facts.stored.start["time"]), "time since the start (s)"
        else:
            position, label = frames["frame_index"].to_numpy(float), "frame"
        figure = line_picture(position, *plain, told, facts.name, label)
    return to_webp(figure)


def _moved(facts: Facts) -> list[tuple[str, str]]:
    """Give the columns of the motors that were moved, the slowest first, and how they are called."""
    motors = set(facts.stored.start.get("motors") or ())
    if not motors:
        return []
    first = str(facts.frames["image_key"].iloc[0])
    events = facts.stored.images_of(first).events
    named = []
    for key in events.positions:
        if key in facts.frames.columns and facts.frames[key].notna().any():
            unit = events.data_keys[key].get("units")
            named.append((key, f"{key.replace('_', ' ')} ({unit})" if unit else key.replace("_", " ")))
    return named


def least_certain(frames: DataFrame, count: int) -> DataFrame:
    """Give the labelled frames of the lowest confidence, the lowest first."""
    labelled = frames[frames["status"] == Status.CLASSIFIED]
    return labelled.sort_values("confidence", kind="stable").head(count)


def frame_pictures(
    facts: Facts, chosen: DataFrame, settings: FrameSettings, bundle: Bundle | None, why_not: str
) -> tuple[list[FramePicture], str]:
    """Draw frames, with what the network looks at where its network and TensorFlow are here.

    Parameters
    ----------
    facts : Facts
    chosen : DataFrame
        Rows of `facts.frames`.
    settings : FrameSettings
        Of the session, with its masks as far as they are given.
    bundle : Bundle or None
        The network that labelled the frames.
    why_not : str
        What is said where there is none.

    Returns
    -------
    pictures, and why there is no saliency; empty if there is
    """
    pictures = []
    for _, row in chosen.iterrows():
        images = facts.stored.images_of(str(row["image_key"]))
        index = int(row["frame_index"])
        title = f"{row['image_key']}, frame {index}"
        try:
            (pixels,) = images.read([index])
        except Exception as error:  # a file that is gone is told, and takes no report along
            logger.warning("%s of the run %s can't be read: %s", title, facts.stored.uid, error)
            pictures.append(FramePicture(title, b"", [f"The frame can't be read: {error}"]))
            continue
        detector = images.describe(settings)
        explanation = None
        if bundle is not None and detector.geometry is not None:
            geometry = without_marked_pixels(pixels, detector.geometry, bundle.preprocessing)
            try:
                with extra_needed():
                    explanation = _explain(bundle, pixels, geometry, int(row["disk_number"]), detector)
            except (MissingExtraError, ValueError) as error:
                bundle, why_not = None, str(error)
        image = _frame_image(pixels, images, settings, explanation)
        pictures.append(FramePicture(title, image, _details(facts, row)))
    return pictures, "" if bundle is not None else why_not


def _explain(
    bundle: Bundle, pixels: NDArray[Any], geometry: FrameGeometry, disk_number: int, detector: Any
) -> Explanation:
    from speckle_plugin.explain.saliency import explain

    return explain(
        bundle, pixels, geometry, disk_number, detector.k_step, center_assumed=detector.center_assumed
    )


def _frame_image(
    pixels: NDArray[Any], images: StoredImages, settings: FrameSettings, explanation: Explanation | None
) -> bytes:
    from speckle_plugin.explain.picture import frame_picture

    detector = images.describe(settings)
    figure = frame_picture(
        pixels,
        None if explanation is None else explanation.saliency,
        detector.beam_center,
        detector.k_step,
        None if detector.geometry is None else detector.geometry.mask,
    )
    return to_webp(figure)


def _details(facts: Facts, row: Any) -> list[str]:
    told = [f"{row['disk_number']} disks, confidence {row['confidence']:.1%}"]
    result = facts.stored.results.rows.get((str(row["image_key"]), int(row["frame_index"])))
    classes = list(facts.stored.model.get("classes") or ())
    if result is not None and classes:
        probabilities = np.asarray(result.data["probabilities"], float)
        for i in np.argsort(-probabilities, kind="stable")[1:3]:
            told.append(f"then {int(classes[i])} disks, {probabilities[i]:.1%}")
    if row["possible"]:
        told.append(f"possible: {str(row['possible']).replace(',', ', ')}")
    if not np.isnan(float(row["novelty"])) and row["novelty"]:
        told.append(f"novelty {row['novelty']:.2f} (about 1 for known frames)")
    if row["flags"]:
        told.append(f"flags: {row['flags']}")
    for name, label in _moved(facts):
        told.append(f"{label}: {row[name]:g}")
    if str(row["truth_disk_number"]) not in ("<NA>", "nan"):
        told.append(f"truth: {row['truth_disk_number']} disks")
    if row["certificate"] == Opinion.SOLVED:
        told.append(f"solved: {row['structure_disk_number']} disks")
    return told


def solved_pictures(facts: Facts, settings: FrameSettings, count: int) -> list[FramePicture]:
    """Draw the sample of frames that are solved: those first of which the network says another number."""
    from speckle_plugin.explain.structure_picture import structure_picture
    from speckle_plugin.solving.rows import structure_of_row

    frames = facts.frames
    solved = frames[frames["certificate"] == Opinion.SOLVED]
    other = solved["structure_disk_number"] != solved["disk_number"]
    order = solved.assign(agrees=~other.fillna(False).astype(bool)).sort_values(
        ["agrees", "confidence"], kind="stable"
    )
    pictures = []
    for _, row in order.head(count).iterrows():
        key = str(row["image_key"]), int(row["frame_index"])
        stored_row = facts.stored.structures.rows[key].data
        images = facts.stored.images_of(key[0])
        detector = images.describe(settings)
        if detector.geometry is None:
            continue
        try:
            (pixels,) = images.read([key[1]])
        except Exception as error:  # as above
            logger.warning("frame %s of the run %s can't be read: %s", key, facts.stored.uid, error)
            continue
        structure = structure_of_row(stored_row, stored_row["disks"])
        figure = structure_picture(structure, pixels, detector.geometry, f"{key[0]}, frame {key[1]}")
        said = f"The network says {row['disk_number']} disks, confidence {row['confidence']:.1%}."
        pictures.append(FramePicture(f"{key[0]}, frame {key[1]}", to_webp(figure), [said]))
    return pictures
