"""A real model on this machine, for demos and tests: llama.cpp's own OpenAI-compatible server.

:class:`LocalServer` runs it in a child process; ``python -m openai_stream.local`` asks it a
question.
"""

from openai_stream.publishing import publish

from .server import LocalServer

__all__ = ["LocalServer"]

publish(globals())
