"""A simulated sample on x, y stages, and the speckle detector that looks at it, in steps or in flight."""

sample = SpeckleSample(name="sample", sample_map=SampleMap("patches"))
det = FlySpeckleDetector(name="det", sample=sample, data_directory=session.store.frames_directory)
