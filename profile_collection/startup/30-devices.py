"""A simulated sample on x, y stages, and the speckle detector that looks at it, in steps or in flight.

$SPECKLE_DETECTOR=ophyd-async makes the detector one of ophyd-async: the same physics, other documents.
"""

import os

sample = SpeckleSample(name="sample", sample_map=SampleMap("patches"))
match os.environ.get("SPECKLE_DETECTOR", "ophyd"):
    case "ophyd":
        det = FlySpeckleDetector(
            name="det", sample=sample, data_directory=session.store.frames_directory, labels={"detectors"}
        )
    case "ophyd-async":
        from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices

        from simulated_devices.async_detector import AsyncSpeckleDetector

        with init_devices():
            det = AsyncSpeckleDetector(
                StaticPathProvider(UUIDFilenameProvider(), session.store.frames_directory), sample
            )
    case other:
        raise ValueError(f"$SPECKLE_DETECTOR must be 'ophyd' or 'ophyd-async', not {other!r}")
