"""Reading stored runs: searches, rows, frames, results."""
