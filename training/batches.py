"""Batches of the network's inputs without TensorFlow: made by several processes, and in order.

Each batch follows from its number, as the frames of a stream do. So several are made at once, and a training
that is resumed goes on with the batch at which it stopped.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from training.frames import DrawnFrame, stream
from training.inputs import prepared_inputs, view_shape_of
from training.recipe import TrainingRecipe

__all__ = ["Batch", "batches"]

Batch = tuple[NDArray[np.float32], NDArray[np.int32]]
"""Inputs (N, rows, columns, 1) and class indices (N,)."""

AHEAD = 4
"""Batches that wait, for each process that makes them."""

FEWEST_CORES = 4
"""With fewer, frames are drawn on a thread: processes of their own would take the cores from the training."""


def batches(
    recipe: TrainingRecipe, first_step: int = 0, source: Callable[[int], Iterator[DrawnFrame]] | None = None
) -> Iterator[Batch]:
    """Give the batches of a recipe from a step on, for ever.

    Parameters
    ----------
    recipe : TrainingRecipe
    first_step : int
    source : callable, optional
        Gives the frames from an index on; by default the recipe's stream.
    """
    if source is not None:
        yield from _of_source(recipe, first_step, source)
        return
    cores = os.cpu_count() or 1
    processes = cores if cores >= FEWEST_CORES else 1
    pool: ProcessPoolExecutor | ThreadPoolExecutor
    if processes > 1:
        # A fork would copy the state of JAX, whose threads it does not have.
        pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    else:
        pool = ThreadPoolExecutor(1)
    waiting: deque[Future[Batch]] = deque()
    steps = itertools.count(first_step)
    try:
        while True:
            while len(waiting) < AHEAD * processes:
                waiting.append(pool.submit(make_batch, recipe, next(steps)))
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def make_batch(recipe: TrainingRecipe, step: int) -> Batch:
    """Draw the frames of one batch of the recipe's stream, and prepare them."""
    views, *_ = view_shape_of(recipe)
    start = step * recipe.batch // views
    frames = stream(recipe.frames, recipe.seed, "train", start, recipe.training_frames)
    # A batch may begin with the second view of a frame.
    inputs = itertools.islice(prepared_inputs(recipe, frames), step * recipe.batch % views, None)
    return _stack(itertools.islice(inputs, recipe.batch))


def _of_source(
    recipe: TrainingRecipe, first_step: int, source: Callable[[int], Iterator[DrawnFrame]]
) -> Iterator[Batch]:
    views, *_ = view_shape_of(recipe, source)
    with closing(prepared_inputs(recipe, source(first_step * recipe.batch // views))) as inputs:
        while True:
            yield _stack(itertools.islice(inputs, recipe.batch))


def _stack(inputs: Iterator[tuple[NDArray[np.float32], int]]) -> Batch:
    views, classes = zip(*inputs, strict=True)
    return np.stack(views), np.array(classes, np.int32)
