"""`speckle report`: one file that holds all that it shows, of runs of every kind."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bluesky import RunEngine

from speckle_plugin.live import SecondOpinion
from speckle_plugin.network import find_bundle
from speckle_plugin.report import write_report
from speckle_plugin.report.facts import MEANING
from speckle_plugin.schema import Flag
from speckle_plugin.store import TiledStore
from tests.testing.commands import Speckle
from tests.testing.stored_runs import measure


class Page(HTMLParser):
    """What is on a page: its text, its pictures, its addresses; and that each element is closed."""

    VOID = frozenset({"meta", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []
        self.addresses: list[str] = []
        self.words = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href"):
                self.addresses.append(value or "")
        if tag == "img":
            self.pictures.append(dict(attrs)["src"] or "")
            assert dict(attrs)["alt"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def named() -> dict[str, str]:
    """Uids of the runs of this module, by name; filled by `runs`."""
    return {}


@pytest.fixture
def runs(run_engine: RunEngine, store: TiledStore, named: dict[str, str]) -> dict[str, str]:
    """Give a classified and solved run, one without labels, and one whose metadata are a trap; made once."""
    if not named:
        opinion = SecondOpinion("all", workers=1, wait=60.0)
        named["solved"] = measure(run_engine, store, 3, second_opinion=opinion)
        named["unlabelled"] = measure(run_engine, store, 2, classified=False)
        named["trap"] = measure(run_engine, store, 2, sample='<script>alert(1)</script> & "it\'s"')
    return named


def test_what_is_on_the_page(runs: dict[str, str], store: TiledStore, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    write_report(store.runs[runs["solved"]], out)
    page = Page(out.read_text())
    # The line, the least certain frames, and the solved samples.
    assert len(page.pictures) == 1 + 3 + 3
    assert all(address.startswith("data:image/webp;base64,") for address in page.addresses)
    words = " ".join(page.words.split())
    assert re.search(r"\b3 frames\b.* 3 classified", words)
    assert "3 frames were to be solved: 3 solved" in words
    # The network of these runs is a stand-in that nobody ships.
    assert "sevens 0" in words and "is not among the shipped ones" in words
    assert "1 of 3 labels" in words or "0 of 3 labels" in words
    assert "beam centre (row, column)" in words
    assert out.stat().st_size < 5e6


def test_a_run_without_labels(runs: dict[str, str], store: TiledStore, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    write_report(store.runs[runs["unlabelled"]], out)
    page = Page(out.read_text())
    assert not page.pictures
    assert "There are no results in this run" in page.words


def test_metadata_are_text(runs: dict[str, str], store: TiledStore, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    write_report(store.runs[runs["trap"]], out, frames=0)
    page = Page(out.read_text())
    assert '<script>alert(1)</script> & "it\'s"' in page.words
    assert "<script" not in out.read_text()
    assert len(page.pictures) == 1


def test_another_network_is_refused(runs: dict[str, str], store: TiledStore, tmp_path: Path) -> None:
    bundle = replace(find_bundle(), sha256="0" * 64)
    with pytest.raises(ValueError, match=r"was labelled by sevens 0 .* not by quadrant"):
        write_report(store.runs[runs["trap"]], tmp_path / "report.html", bundle=bundle)
    assert not list(tmp_path.iterdir())


def test_the_command(runs: dict[str, str], store: TiledStore, speckle: Speckle, tmp_path: Path) -> None:
    out, data = tmp_path / "report.html", store.journal_directory.parent
    done = speckle("report", "last", "--data", data, "--out", out, "--no-saliency", "--frames", 1)
    assert done.exit_code == 0, done.output
    assert f"{out} (0." in done.stdout
    assert runs["trap"] in out.read_text()
    cases = [
        (("last",), "--force"),
        (("nowhere", "--force"), "no stored run has the uid nowhere"),
        (("99999", "--force"), "no stored run has the scan id 99999"),
    ]
    before = out.read_text()
    for arguments, message in cases:
        refused = speckle("report", *arguments, "--data", data, "--out", out)
        assert refused.exit_code == 2, refused.output
        assert message in " ".join(refused.stderr.split())
    refused = speckle("report", "last", "--data", data, "--out", tmp_path / "report.pdf")
    assert refused.exit_code == 2 and "must end with .html" in " ".join(refused.stderr.split())
    assert out.read_text() == before


def test_every_flag_has_a_meaning() -> None:
    assert set(MEANING) == set(Flag)
