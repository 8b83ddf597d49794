"""What stands in README and pages: blocks of code, commands, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGES", "ROOT", "Block", "blocks", "commands", "links"]

ROOT = Path(__file__).parents[2]

PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if not {"_build", "generated"} & set(path.relative_to(ROOT).parts)
)

FENCE = re.compile(
    r"^(?P<indent> *)```+\{?(?P<kind>[\w-]*)\}?[^\n]*\n(?P<text>.*?)^(?P=indent)```+ *$", re.M | re.S
)
PROMPT = re.compile(r"^In \[\d+\]: ")


@dataclass(frozen=True)
class Block:
    """A block of code: the page, the line on which it begins, its language, its text."""

    page: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Give the blocks of a page; typed lines of IPython (``In [1]: ...``) are given as Python."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        kind, body = found["kind"] or "", found["text"]
        if kind == "ipython":
            typed = [PROMPT.sub("", one) for one in body.splitlines() if PROMPT.match(one)]
            kind, body = "python", "\n".join(typed)
        yield Block(page, line, kind, body)
    for number, one in enumerate(text.splitlines(), start=1):
        if PROMPT.match(one.strip()) and one.startswith("    "):  # an indented block, as in the README
            yield Block(page, number, "python", PROMPT.sub("", one.strip()))


def commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Give the lines of a page, outside of Python, that call `speckle`, each as the words of a shell."""
    python = {
        block.line + i
        for block in blocks(page)
        if block.kind == "python"
        for i in range(block.text.count("\n") + 2)
    }
    lines = page.read_text().splitlines()
    in_fence = False
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if line.lstrip().startswith("```"):
            in_fence = not in_fence
            continue
        first = number
        text = line.strip()
        if not (in_fence or line.startswith("    ")) or first in python:
            continue
        if not re.match(r"(SPECKLE_\w+=\S+ )*speckle [a-z]", text):
            continue
        while text.endswith("\\") and number < len(lines):
            text = text[:-1] + lines[number].strip()
            number += 1
        words = shlex.split(text, comments=True)
        yield first, words[words.index("speckle") + 1 :]


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Give the links and pictures of a page that lead to files: the path and what stands behind a #."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor
