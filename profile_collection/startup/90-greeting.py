"""Say what to type."""

from rich.console import Console

Console(highlight=False, soft_wrap=True).print(
    r"""[bold]Speckle session[/]: every frame is classified while you measure.

  RE(classify_grid_scan(\[det], sample.y, -1, 1, 8, sample.x, -1, 1, 8))
  RE(classify_count(\[det], 5))             [dim]or any plan of bluesky: RE(count(\[det], 5))[/]
  RE(bps.mv(sample.family, "poly"))        [dim]disks of a spread of sizes[/]

  find_frames(catalog\[-1])                 [dim]the newest run, a row for each frame[/]
  find_runs(catalog, label=7, max_confidence=0.8)
  solve_frame(catalog\[-1], 0)             [dim]its disks, computed; .picture() draws them[/]
"""
)
