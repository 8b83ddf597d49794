"""Would the network in 8-bit integers do? How many labels change, and how much faster it is, in one run.

OpenVINO computes in INT8 where a graph has been quantized; that is done here by NNCF's post-training
quantization, on frames of a seed of their own. It is to be had only if less than 0.2 % of the labels change,
and it is 1.3 times as fast or more as the precision that is taken on this machine (docs/decisions). NNCF is
not among this package's requirements:

    pip install nncf
    python benchmarks/int8.py [--model quadrant] [--per-class 100] [--keep-ends] [--rounds 20]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from speckle_plugin.network import Bundle, find_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.engines import NetworkOutput
from speckle_plugin.network.engines.openvino import OpenvinoEngine, build_model
from training.frames import DrawnFrame, balanced_set
from training.recipe import stored_frame_recipe

CALIBRATION_SEED, TEST_SEED = 8_000_001, 8_000_002
CALIBRATION_PER_CLASS = 8
BATCH = 32

MOST_CHANGED = 0.002
LEAST_GAIN = 1.3


class CompiledEngine:
    """A graph that was compiled for throughput, as `OpenvinoEngine` does for several frames."""

    name, device = "openvino", "CPU"

    def __init__(self, model: Any, precision: str) -> None:
        self.precision = precision
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
        compiled = ov.Core().compile_model(model, "CPU", options)
        count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._requests = [compiled.create_infer_request() for _ in range(count)]

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        """Run the network on inputs of shape (N, rows, columns)."""
        images = np.ascontiguousarray(inputs[:, None], np.float32)
        requests = self._requests[: len(images)]
        for request, part in zip(requests, np.array_split(images, len(requests)), strict=True):
            request.start_async([part])
        for request in requests:
            request.wait()
        logits, features = (
            np.concatenate([request.get_output_tensor(i).data for request in requests]) for i in range(2)
        )
        return NetworkOutput(logits, features)


def main() -> None:
    """Quantize, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=None, help="name or path of a bundle")
    parser.add_argument("--per-class", type=int, default=100, help="test frames for each disk number")
    parser.add_argument("--keep-ends", action="store_true", help="first convolution and last layer in float")
    parser.add_argument("--rounds", type=int, default=20, help="batches of which the speed is measured")
    options = parser.parse_args()
    bundle = find_bundle(options.model)
    model = build_model(bundle)
    quantized = quantize(bundle, model, keep_ends=options.keep_ends)
    exact = Classifier(bundle, CompiledEngine(model, "float32"))
    rounded = Classifier(bundle, CompiledEngine(quantized, "int8"))
    frames = changed = right_exact = right_rounded = 0
    largest = 0.0
    batches: list[NDArray[np.float32]] = []
    for inputs, numbers in _batches(bundle, options.per_class, TEST_SEED):
        one, other = exact.infer(inputs), rounded.infer(inputs)
        frames += len(inputs)
        changed += int((one.disk_number != other.disk_number).sum())
        right_exact += int((one.disk_number == numbers).sum())
        right_rounded += int((other.disk_number == numbers).sum())
        largest = max(largest, float(np.abs(one.probabilities - other.probabilities).max()))
        batches = [*batches, inputs][-4:]
    taken = Classifier(bundle, OpenvinoEngine(bundle))
    beside_exact, gain = (
        speed_ratio(other, rounded, itertools.islice(itertools.cycle(batches), options.rounds))
        for other in (exact, taken)
    )
    share = changed / frames
    print(f"model                {bundle.name} {bundle.version}, seed {TEST_SEED}")
    print(f"frames               {frames}")
    print(f"other label          {changed} ({share:.2%}); at most {MOST_CHANGED:.1%} is asked for")
    print(f"accuracy             {right_exact / frames:.4f} in float32, {right_rounded / frames:.4f} in int8")
    print(f"largest difference   {largest:.2g} in a probability")
    print(f"beside float32       {beside_exact:.2f} times as fast")
    print(
        f"beside what is taken {gain:.2f} times as fast ({taken.engine.precision}); {LEAST_GAIN} is asked for"
    )
    print(
        "verdict              " + ("keep" if share < MOST_CHANGED and gain >= LEAST_GAIN else "do not keep")
    )


def quantize(bundle: Bundle, model: Any, *, keep_ends: bool) -> Any:
    """Quantize a graph by NNCF, on frames that neither training nor test has seen."""
    import nncf

    drawn = _batches(bundle, CALIBRATION_PER_CLASS, CALIBRATION_SEED)
    inputs = [view[None, None] for views, _ in drawn for view in views.reshape(-1, *views.shape[2:])]
    ends: Any = None
    if keep_ends:
        operations = model.get_ordered_ops()
        convolutions = [op for op in operations if op.get_type_name() == "Convolution"]
        products = [op for op in operations if op.get_type_name() == "MatMul"]
        names = [op.get_friendly_name() for op in (convolutions[0], products[-1])]
        ends = nncf.IgnoredScope(names=names)
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        ignored_scope=ends,
    )


def speed_ratio(slower: Classifier, rounded: Classifier, batches: Iterator[NDArray[np.float32]]) -> float:
    """Give how much faster the quantized network is: the median over batches that both get in turn."""
    ratios = []
    for inputs in batches:
        seconds = [_seconds(classifier, inputs) for classifier in (slower, rounded)]
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)


def _seconds(classifier: Classifier, inputs: NDArray[np.float32]) -> float:
    started = time.perf_counter()
    classifier.infer(inputs)
    return time.perf_counter() - started


def _batches(bundle: Bundle, per_class: int, seed: int) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
    """Prepare frames of the bundle's own recipe, in batches, with their disk numbers."""
    recipe = stored_frame_recipe(bundle)
    if recipe is None:
        raise SystemExit(f"{bundle.name} does not say which frames it was trained on")
    drawn = balanced_set(recipe, per_class, seed, "int8")
    while chunk := list(itertools.islice(drawn, BATCH)):
        yield _prepared(bundle, chunk), np.array([frame.disk_number for frame in chunk])


def _prepared(bundle: Bundle, chunk: list[DrawnFrame]) -> NDArray[np.float32]:
    from speckle_plugin.preprocessing import prepare

    return np.concatenate([prepare(d.frame, bundle.preprocessing, d.geometry) for d in chunk])


if __name__ == "__main__":
    main()
