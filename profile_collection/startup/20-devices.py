"""A simulated sample on x, y stages, and the speckle detector that looks at it."""

sample = SpeckleSample(name="sample", sample_map=SampleMap("patches"))
det = SpeckleDetector(name="det", sample=sample, data_directory=session.store.frames_directory)
