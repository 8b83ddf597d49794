"""What documents mean, without pixels and without Tiled: runs, detectors, references to frames."""
