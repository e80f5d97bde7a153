"""The command ``openai-stream``: what the library does, from a terminal.

A user of the public API like any other. ``program`` is the click group; its commands are in
``questions``, ``batch`` and ``recordings``. What they share: ``targets`` (which server, which
client), ``endpoints`` (what is asked of it), ``output`` (how an answer is shown), ``failures`` (how
it ends).
"""

from .batch import batch
from .failures import Program
from .questions import chat, complete, respond
from .recordings import record, replay, serve

__all__ = ["program"]

program = Program("openai-stream")
for command in (chat, complete, respond, batch, record, replay, serve):
    program.add_command(command)
