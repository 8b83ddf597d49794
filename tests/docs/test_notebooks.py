"""The tutorial's notebook runs; its kernel may be restarted at any time, and the next session goes on."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import nbformat
import pytest

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "tutorial" / "scan-in-a-notebook.md"
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", re.M | re.S)


def _cells(data: Path) -> list[str]:
    """Give the cells up to the first figure, on a directory that stays."""
    cells = CELL.findall(PAGE.read_text())
    shown = next(i for i, cell in enumerate(cells) if "scan_picture" in cell)
    text = cells[: shown + 1]
    assert "tempfile.TemporaryDirectory()" in text[0]
    text[0] = text[0].replace("directory.name", repr(str(data)))
    return [cell.replace("-1, 1, 6", "-1, 1, 2") for cell in text]


@pytest.mark.slow
def test_the_kernel_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in _cells(tmp_path / "data")]
        + [nbformat.v4.new_code_cell("print(len(catalog))")]
    )
    client = nbclient.NotebookClient(notebook, timeout=200, kernel_name="python3", allow_errors=False)

    async def twice() -> list[str]:
        counts = []
        async with client.async_setup_kernel():
            for _ in range(2):
                for index, cell in enumerate(notebook.cells):
                    await client.async_execute_cell(cell, index)
                counts.append(notebook.cells[-1].outputs[0].text.strip())
                # As from Jupyter's menu: the session is not closed.
                await client.km.restart_kernel(now=True)
                await client.kc.wait_for_ready(timeout=60)
        return counts

    assert asyncio.run(twice()) == ["1", "2"]
    table, figure = notebook.cells[-4].outputs[0], notebook.cells[-2].outputs[-1]
    assert "text/html" in notebook.cells[-3].outputs[0].data or "text/html" in table.data
    assert "image/png" in figure.data
