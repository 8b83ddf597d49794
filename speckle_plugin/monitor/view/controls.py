"""The buttons and fields above the two large figures."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from typing import Any, Protocol

import panel as pn
from pandas import DataFrame

from speckle_plugin.monitor.layout import Layout
from speckle_plugin.monitor.shown_frame import ShownFrame
from speckle_plugin.monitor.view.run_figure import COLOURINGS

__all__ = ["Controls", "Controlled"]

AVERAGES = {"one frame": 1, "mean of 5": 5, "mean of 20": 20}


class Controlled(Protocol):
    """What follows the controls."""

    def recolour(self) -> None:
        """Colour the map anew."""

    def rescale(self) -> None:
        """Draw the frame on another scale."""

    def overlay(self) -> None:
        """Show or hide what lies over the frame."""

    def held(self) -> None:
        """Hold the frame, or follow the newest one."""

    def averaged(self) -> None:
        """Average over other frames."""

    def step(self, by: int) -> None:
        """Go to another frame."""


class Controls:
    """The controls; what is chosen stands in their values."""

    def __init__(self, page: Controlled) -> None:
        small: dict[str, Any] = {"margin": (0, 3), "height": 30}
        self.colouring = pn.widgets.RadioButtonGroup(options=list(COLOURINGS), button_type="default", **small)
        self._scale = pn.widgets.RadioButtonGroup(options=["log", "linear"], button_type="default", **small)
        self._auto = pn.widgets.Toggle(name="range: auto", value=True, width=92, **small)
        looks = {"width": 86, "margin": (0, 2), "visible": False}
        self._low = pn.widgets.FloatInput(value=None, placeholder="lowest", **looks)
        self._high = pn.widgets.FloatInput(value=None, placeholder="highest", **looks)
        self.mask = pn.widgets.Toggle(name="mask", value=True, width=56, **small)
        self.saliency = pn.widgets.Toggle(name="saliency", width=74, **small)
        self.average = pn.widgets.Select(options=AVERAGES, width=106, margin=(0, 3), height=30)
        self.hold = pn.widgets.Toggle(name="hold", width=56, **small)
        back = pn.widgets.Button(name="‹", width=32, description="frame before", **small)
        on = pn.widgets.Button(name="›", width=32, description="next frame", **small)
        # Its line is kept free: a figure that has its height does not shrink when a remark comes.
        self._remark = pn.pane.HTML("", margin=(2, 3), sizing_mode="stretch_width", min_height=18)
        self._detector = pn.widgets.Select(options=[], visible=False, width=150, **small)
        self.of_run = pn.Row(self.colouring, self._detector, sizing_mode="stretch_width", margin=(0, 0, 4, 0))
        in_a_row = [self._scale, self._auto, self._low, self._high, self.mask, self.saliency]
        in_a_row += [self.average, back, on, self.hold]
        self.of_frame = pn.Column(
            pn.FlexBox(*in_a_row, gap="4px 0px", sizing_mode="stretch_width", margin=0),
            self._remark,
            sizing_mode="stretch_width",
            margin=(0, 0, 2, 0),
        )
        self._page = page
        self._watch(page.recolour, self.colouring, self._detector)
        self._watch(page.rescale, self._scale, self._low, self._high)
        self._auto.param.watch(lambda event: self._range_changed(), "value")
        self._watch(page.overlay, self.mask, self.saliency)
        self.hold.param.watch(lambda event: page.held(), "value")
        self.average.param.watch(lambda event: page.averaged(), "value")
        back.on_click(lambda event: page.step(-1))
        on.on_click(lambda event: page.step(1))

    @staticmethod
    def _watch(changed: Callable[[], object], *widgets: Any) -> None:
        for widget in widgets:
            widget.param.watch(lambda event: changed(), "value")

    @property
    def logarithmic(self) -> bool:
        """Whether the frame is drawn on a logarithmic scale."""
        return bool(self._scale.value == "log")

    @property
    def limits(self) -> tuple[float, float] | None:
        """The range that was typed; None where each frame has its own, or what was typed is none."""
        low, high = self._low.value, self._high.value
        if self._auto.value or low is None or high is None or not low < high:
            return None
        return (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else None

    def shows(self, frame: ShownFrame | None) -> None:
        """Offer the range of the frame that is shown, and say what is to be said of its mask."""
        if frame is not None and self._auto.value:
            self._low.value, self._high.value = (float(f"{value:.3g}") for value in frame.limits)
        self.mask.disabled = frame is None or not (frame.masked.any() or frame.mask_note)
        if not self.saliency.value:
            self.say("" if frame is None or "not in the settings" not in frame.mask_note else frame.mask_note)

    def of_layout(self, layout: Layout) -> None:
        """Offer what the colours of this kind of figure may say."""
        self.colouring.visible = layout.kind == "map"

    def offer_detectors(self, image_keys: tuple[str, ...]) -> None:
        """Offer the detectors of a run that has several."""
        if tuple(self._detector.options) != image_keys:
            self._detector.options = list(image_keys)
            self._detector.value = image_keys[0] if image_keys else None
        self._detector.visible = len(image_keys) > 1

    def of_detector(self, table: DataFrame) -> DataFrame:
        """Give the frames of the detector that is chosen."""
        several = len(self._detector.options) > 1
        return table[table["image_key"] == self._detector.value] if several else table

    def say(self, text: str) -> None:
        """Say something about the frame."""
        self._remark.object = f"<span style='font-size: 12px'>{html.escape(text)}</span>" if text else ""

    def _range_changed(self) -> None:
        for field in (self._low, self._high):
            field.visible = not self._auto.value
        self._auto.name = "range: auto" if self._auto.value else "range:"
        self._page.rescale()
