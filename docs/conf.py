"""How the documentation is built: ``make docs``."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.addnodes import pending_xref

import openai_stream.local
import openai_stream.recordings
import openai_stream.testing
import openai_stream.web
from openai_stream._version import VERSION

here = Path(__file__).parent

project = "openai-stream"
author = "openai-stream contributors"
project_copyright = author
version = release = VERSION

extensions = ["sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx_click"]
exclude_patterns = ["_build"]
nitpicky = True
default_role = "py:obj"
smartquotes = False  # they would make one dash of the two of "--local"

html_theme = "furo"
html_title = f"openai-stream {VERSION}"
html_show_sourcelink = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"

# The names that docstrings refer to, in plain text: a build needs no network, and no page of
# another project can break it.
intersphinx_mapping = {
    name: (address, str(here / "inventories" / f"{name}.inv"))
    for name, address in {
        "python": "https://docs.python.org/3",
        "requests": "https://requests.readthedocs.io/en/latest",
        "opentelemetry": "https://opentelemetry-python.readthedocs.io/en/latest",
        "attrs": "https://www.attrs.org/en/stable",
    }.items()
}

# Type variables: of an event, of a whole answer, of the class itself.
nitpick_ignore_regex = [("py:class", r"(openai_stream\.\S+\.)?(E|E_co|W|W_co|C|M|T)")]


def bring_home() -> None:
    """Have public classes say again where they are written.

    There autodoc looks for the comments at their attributes, and for the order of their members.
    """
    for name, module in [*sys.modules.items()]:
        if name.partition(".")[0] != "openai_stream":
            continue
        source = inspect.getsource(module)
        for thing in vars(module).values():
            if isinstance(thing, type) and re.search(rf"^class {thing.__name__}\b", source, re.M):
                thing.__module__ = name


bring_home()

#: What docstrings and signatures say, and where it is documented.
DOCUMENTED_AS = {
    **{name: f"openai_stream.{name}" for name in openai_stream.__all__},
    "BaseClient": "openai_stream.Client",
    "Part": "openai_stream.parts.Part",
    "openai_stream.base_client.BaseClient": "openai_stream.Client",
    "requests.models.PreparedRequest": "requests.PreparedRequest",
    "requests.models.Response": "requests.Response",
    "requests.sessions.Session": "requests.Session",
}


def meant(app: Any, doctree: Any) -> None:
    """Let names refer to what they mean.

    Some classes have attributes called ``bytes``, ``object`` and ``type``, as the API has fields of
    these names; Sphinx would take a type ``bytes`` for one of them.
    """
    for node in doctree.findall(pending_xref):
        target = node["reftarget"]
        node["reftarget"] = DOCUMENTED_AS.get(target, target)
        if node["reftype"] == "class" and target in ("bytes", "object", "type"):
            node.attributes.pop("refspecific", None)
            node["py:module"] = node["py:class"] = None


def setup(app: Any) -> None:
    app.connect("doctree-read", meant)
