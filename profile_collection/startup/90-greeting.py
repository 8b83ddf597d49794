"""Say what to type."""

from rich.console import Console

Console(highlight=False, soft_wrap=True).print(
    r"""[bold]Speckle session[/]: every frame is classified while you measure.

  RE(classify_grid_scan(\[det], sample.y, -1, 1, 8, sample.x, -1, 1, 8))
  RE(classify_count(\[det], 5))             [dim]or any plan of bluesky: RE(count(\[det], 5))[/]
  %mov sample.x 0.5                        [dim]%movr, and %wa tells where all are[/]
  configure(family="poly", photons=1e5)    [dim]exposure=, mask=, model= for the next scans as well[/]
  RE.md\["sample"] = "A7"                   [dim]stands in all runs from now on, tomorrow too[/]
  figure()                                 [dim]opens the live figure again[/]

  find_frames(last())                      [dim]the newest run, a row for each frame; catalog\[12]: scan 12[/]
  find_runs(catalog, label=7, max_confidence=0.8)
  solve_frame(last(), 0)                   [dim]its disks, computed; .picture() draws them[/]
"""
)
