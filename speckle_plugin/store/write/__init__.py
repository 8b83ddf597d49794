"""Writing runs: journal first, then Tiled; what to do in and after an outage."""
