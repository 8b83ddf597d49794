"""What a classified file shows at a glance: counts, flags, and where the truth is known, the confusion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.cli.console import print_table, stdout, table
from speckle_plugin.network.classifier import FrameResult
from speckle_plugin.schema import NO_DISK_NUMBER, Status

__all__ = ["print_summary"]


def print_summary(
    results: Sequence[FrameResult], truth: NDArray[np.int64] | None, class_names: Sequence[str] = ()
) -> None:
    """Write the summary of a file's results to stdout.

    Parameters
    ----------
    results : sequence of FrameResult
    truth : array of int or None, shape (frames,)
        The disk numbers, where they are known.
    class_names : sequence of str
        Those of an imported network's classes, if it has such.
    """
    names = dict(enumerate(class_names, start=1))
    what = "class" if names else "disk number"
    found = np.array([result.disk_number for result in results])
    confidence = np.array([result.confidence for result in results])
    labels = table(
        what,
        "frames",
        "mean confidence",
        "lowest",
        right=(what, "frames", "mean confidence", "lowest"),
    )
    for number in np.unique(found[found != NO_DISK_NUMBER]):
        chosen = confidence[found == number]
        labels.add_row(
            names.get(int(number), str(number)),
            str(chosen.size),
            f"{chosen.mean():.3f}",
            f"{chosen.min():.3f}",
        )
    unlabelled = sum(result.status is not Status.CLASSIFIED for result in results)
    if unlabelled:
        labels.add_row("no label", str(unlabelled), "", "")
    print_table(labels)

    flags = Counter(flag.value for result in results for flag in result.flags)
    if flags:
        flagged = table("flag", "frames", right=("frames",))
        for flag, count in flags.most_common():
            flagged.add_row(flag, str(count))
        print_table(flagged)
    if truth is not None and not names:
        _print_confusion(found, truth)


def _print_confusion(found: NDArray[np.int64], truth: NDArray[np.int64]) -> None:
    columns = np.unique(found)
    names = ["none" if n == NO_DISK_NUMBER else str(n) for n in columns]
    confusion = table("truth", *names, right=("truth", *names))
    for number in np.unique(truth):
        row = [int(((truth == number) & (found == n)).sum()) for n in columns]
        confusion.add_row(str(number), *(str(count) if count else "." for count in row))
    stdout().print("frames by truth (rows) and label (columns)")
    print_table(confusion)
    labelled = found != NO_DISK_NUMBER
    right = int((found == truth)[labelled].sum())
    share = f"{right / labelled.sum():.2%}" if labelled.any() else "none"
    stdout().print(f"accuracy {share}: {right} of {int(labelled.sum())} labelled frames are right")
