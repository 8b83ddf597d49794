"""Colours and measures of the page, once. Colours can be told apart by colour-blind people."""

from __future__ import annotations

__all__ = ["CSS", "DARK", "FLAGGED", "FONT", "GREY", "MARK", "NOT_SOLVED", "SOLVED", "style_figure"]

from typing import Any

FLAGGED = "#d55e00"
"""Okabe and Ito's vermilion: frames to look at first."""

GREY = "#c3c8ce"
"""Frames without a label."""

MARK = "#e6007e"
"""What is chosen, on top of viridis and cividis, which have no such colour."""

SOLVED, NOT_SOLVED = "#2a6f97", "#b08030"
"""The disks of a sample, as in the pictures of `speckle_plugin.explain`."""

DARK = "#1d2731"

FONT = "system-ui, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"

CSS = f"""
body {{ margin: 0; background: #f3f5f7; font-family: {FONT}; color: {DARK}; }}
"""

CARD = {
    "background": "white",
    "border": "1px solid #dde2e7",
    "border-radius": "6px",
    "padding": "8px 10px",
}
"""Of the boxes that the page consists of."""


def style_figure(figure: Any, autohide: bool = False) -> None:
    """Give a figure of Bokeh the page's looks; small ones show their tools under the mouse only."""
    figure.toolbar.logo = None
    figure.toolbar.autohide = autohide
    figure.background_fill_color = "white"
    figure.border_fill_color = "white"
    figure.outline_line_color = "#b8c0c8"
    figure.grid.grid_line_color = "#eceff2"
    figure.title.text_font = FONT
    figure.title.text_font_size = "13px"
    figure.title.text_color = DARK
    for axis in figure.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.minor_tick_line_color = None
