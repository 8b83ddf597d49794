"""One stored frame solved at once, to be looked at: for IPython and notebooks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.store import StoredRun

# The solver is imported when it is used: with it the IPython profile would be at its prompt a second later.
if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun
    from matplotlib.figure import Figure

    from speckle_plugin.structure import SolveSettings, Structure

__all__ = ["SolvedFrame", "solve_frame"]


@dataclass(frozen=True, eq=False)
class SolvedFrame:
    """A frame and its structure.

    Parameters
    ----------
    name : str
        Which frame it is.
    structure : Structure
    frame : array, shape (rows, columns)
    geometry : FrameGeometry
    center_half_width : float
        Of the blocked centre, in pixels.
    """

    name: str
    structure: Structure
    frame: NDArray[Any]
    geometry: FrameGeometry
    center_half_width: float

    def picture(self, unit: str = "", truth: Any = None) -> Figure:
        """Draw the sample, the frame, its calculated frame and the residual.

        Parameters
        ----------
        unit : str
            Of lengths; by default the inverse of the unit of k.
        truth : array, shape (n, 3), optional
            x, y, r of the true disks.
        """
        from speckle_plugin.explain.structure_picture import structure_picture

        return structure_picture(
            self.structure, self.frame, self.geometry, self.name, unit, truth, self.center_half_width
        )

    def __repr__(self) -> str:
        """Tell the certificate, and each disk."""
        found = self.structure
        lines = [
            f"{self.name}: {found.disk_number} disks, {found.certificate.replace('_', ' ')}",
            f"  {found.reason}; {found.seconds:.2f} s",
        ]
        if found.disk_number:
            lines.append("  disk          x          y          r   +-")
            columns = zip(found.x, found.y, found.r, found.r_error, strict=True)
            for number, (x, y, r, error) in enumerate(columns, start=1):
                lines.append(f"  {number:4d} {x:10.2f} {y:10.2f} {r:10.2f}   {error:.2g}")
        return "\n".join(lines)

    def _repr_png_(self) -> bytes:
        """Show the picture in a notebook."""
        import io

        buffer = io.BytesIO()
        self.picture().savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


def solve_frame(
    run: BlueskyRun,
    frame_index: int,
    *,
    image_key: str | None = None,
    mask: NDArray[Any] | None = None,
    settings: SolveSettings | None = None,
) -> SolvedFrame:
    """Solve one frame of a stored run, here and now: about a second.

    Parameters
    ----------
    run : BlueskyRun
    frame_index : int
        Counted from 0 over all frames of the image key.
    image_key : str, optional
        Needed where the run has several.
    mask : array of bool, optional
        True where a pixel is left out.
    settings : SolveSettings, optional

    Raises
    ------
    ValueError
        If there is no such frame, or its detector does not state what is needed.

    Examples
    --------
    >>> solved = solve_frame(catalog[-1], 3)
    >>> solved
    >>> solved.picture().savefig("frame-3.png")
    """
    from speckle_plugin.solving.asked import solve_task
    from speckle_plugin.solving.pool import FrameError
    from speckle_plugin.structure import SolveSettings, solve

    stored, settings = StoredRun(run), settings or SolveSettings()
    images = stored.choose_images(image_key)
    given = stored.settings if mask is None else replace(stored.settings, masks={images.data_key: mask})
    (pixels,) = images.read([frame_index])
    task = solve_task(images.describe(given), pixels, settings)
    if isinstance(task, FrameError):
        raise task
    structure = solve(task.frame, task.geometry, task.k_step, task.settings)
    name = (
        f"scan {stored.start.get('scan_id', '?')} ({stored.uid[:8]}), {images.image_key}, frame {frame_index}"
    )
    return SolvedFrame(name, structure, task.frame, task.geometry, settings.center_half_width)
