"""The documentation site: ``python -m sphinx -W docs docs/_build``, offline."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import odekit as ok

os.environ.setdefault("MPLBACKEND", "agg")

project = "odekit"
author = "the odekit developers"
copyright = "the odekit developers"
release = version = ok.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "site_pages",
    "site_pictures",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
    "sphinx_design",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}
nb_execution_mode = "off"  # a test runs them
exclude_patterns = ["_build", "examples/README.md"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Links to files of the project that are no pages of the site are checked by a test.
suppress_warnings = ["myst.xref_missing"]

autosummary_generate = True
autosummary_imported_members = False
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
add_function_parentheses = False

html_theme = "pydata_sphinx_theme"
html_title = "odekit"
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_align": "left",
}
