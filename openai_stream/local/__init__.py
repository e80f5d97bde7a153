"""A real model on this machine, for demos and tests: llama.cpp's own OpenAI-compatible server.

:class:`LocalServer` runs it in a child process; ``python -m openai_stream.local`` asks it a
question.
"""

from .server import LocalServer

__all__ = ["LocalServer"]
