"""How the documentation is built: ``make docs``."""

from __future__ import annotations

from pathlib import Path

from openai_stream._version import VERSION

here = Path(__file__).parent

project = "openai-stream"
author = "openai-stream contributors"
project_copyright = author
version = release = VERSION

extensions = ["sphinx.ext.autodoc", "sphinx.ext.intersphinx"]
exclude_patterns = ["_build"]
nitpicky = True
default_role = "py:obj"

html_theme = "furo"
html_title = f"openai-stream {VERSION}"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_show_sourcelink = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True

# The names that docstrings refer to, in plain text: a build needs no network, and no page of
# another project can break it.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", str(here / "python.inv")),
    "requests": ("https://requests.readthedocs.io/en/latest", str(here / "requests.inv")),
}
