"""How Sphinx builds the site: `make docs`, into docs/_build."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

sys.path.insert(0, str(Path(__file__).parents[1]))

# Before TensorFlow is imported, whose remarks would stand among Sphinx's.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The notebooks' own: what the user has set must not change them. Their servers end at once.
os.environ["SPECKLE_SETTINGS"] = ""
os.environ["SPECKLE_SERVER_IDLE"] = "0"

import speckle_plugin

OURS = ("speckle_plugin", "simulated_devices", "training")
project = "speckle-plugin"
author = "the speckle-plugin contributors"
version = release = speckle_plugin.__version__

extensions = [
    "matplotlib.sphinxext.mathmpl",  # formulas as pictures: MathJax comes from the network
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.typer",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}  # of what autosummary writes: the first

# References are checked, but for types of other packages, whose documentation is not looked up: the site is
# built without the network.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", rf"(?!({'|'.join(OURS)})\b).*"),
    ("py:class", r".*"),  # types in signatures; many are names of the module itself
]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # a page is executed when it is read, and read when it changed
nb_execution_timeout = 240
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_render_markdown_format = "myst"  # with its tables

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autosummary_generate = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

rst_prolog = r".. |k| replace:: \|k\|"  # docstrings write the length of a vector so
suppress_warnings = ["ref.python"]  # a type in a docstring that two modules have

copybutton_prompt_text = r">>> |\.\.\. |\$ |In \[\d*\]: "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "speckle-plugin"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
html_sidebars = {"index": []}
html_show_sourcelink = False
copyright = author  # noqa: A001  the name that Sphinx gives it


def _mark_wide_tables(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Let tables of many columns scroll by themselves, so that the page does not."""
    for table in tree.findall(nodes.table):
        table["classes"].append("wide")


def _find_where_it_is_defined(
    app: Sphinx, environment: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.Element
) -> nodes.Element | None:
    """Resolve a name that a package hands on, such as `speckle_plugin.store.find_runs`."""
    module, _, name = str(node.get("reftarget", "")).rpartition(".")
    if node.get("refdomain") != "py" or module.partition(".")[0] not in OURS:
        return None
    try:
        meant = getattr(importlib.import_module(module), name)
        home = f"{meant.__module__}.{meant.__qualname__}"
    except (ImportError, AttributeError):
        return None
    domain = environment.get_domain("py")
    return domain.resolve_xref(environment, node["refdoc"], app.builder, "obj", home, node, shown)


def setup(app: Sphinx) -> None:
    """Register what the site needs beside the extensions."""
    app.connect("missing-reference", _find_where_it_is_defined)
    app.connect("doctree-resolved", _mark_wide_tables)
