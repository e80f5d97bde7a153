"""A chat window in Tk that never freezes: it looks into the queue, and never waits for it.

Tk may be used from one thread only, and that thread must not wait. The stream has a thread of its
own; the window asks its queue every few milliseconds, by ``after``, for what has come meanwhile.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import tkinter as tk
from contextlib import ExitStack
from tkinter import ttk
from tkinter.scrolledtext import ScrolledText

from openai_stream import (
    DONE,
    APIConnectionError,
    ChatCompletionChunk,
    Client,
    ConfigurationError,
    EventQueue,
    OpenAIStreamError,
)
from openai_stream.local import LocalServer

TICK = 30  # milliseconds between two looks into the queue
MOST = 200  # events in one look; what a fast model has sent beyond waits for the next


class ChatWindow:
    """The window. All methods are called on Tk's thread.

    :param client: who is asked.
    :param model: the model's name.
    """

    def __init__(self, root: tk.Tk, client: Client, model: str) -> None:
        self.root = root
        self._client = client
        self._model = model
        self._messages: list[dict[str, str]] = []
        self._events: EventQueue[ChatCompletionChunk] | None = None

        root.title("Chat")
        root.minsize(360, 300)
        root.protocol("WM_DELETE_WINDOW", self.close)
        root.columnconfigure(0, weight=1)
        root.rowconfigure(0, weight=1)
        ttk.Style(root).theme_use("clam")

        self.transcript = ScrolledText(
            root, wrap="word", font=("TkDefaultFont", 11), padx=12, pady=12, relief="flat"
        )
        self.transcript.grid(row=0, column=0, columnspan=3, sticky="nsew")
        self.transcript.tag_configure("question", foreground="#0f766e", spacing1=12, spacing3=6)
        self.transcript.tag_configure("note", foreground="#5b6461", spacing1=6)
        self.transcript.tag_configure("error", foreground="#b42318", spacing1=6)
        # To be read and copied from, not to be written into.
        self.transcript.configure(state="disabled", takefocus=False)

        self.question = ttk.Entry(root, font=("TkDefaultFont", 11))
        self.question.grid(row=1, column=0, sticky="ew", padx=(12, 6), pady=12)
        self.question.bind("<Return>", lambda _: self.ask())
        self.send = ttk.Button(root, text="Send", command=self.ask)
        self.send.grid(row=1, column=1, pady=12)
        self.stop = ttk.Button(root, text="Stop", command=self.stop_answer, state="disabled")
        self.stop.grid(row=1, column=2, padx=(6, 12), pady=12)
        root.bind("<Escape>", lambda _: self.stop_answer())
        self.question.focus_set()

    def ask(self) -> None:
        """Ask what is in the entry. Returns at once: ``nowait`` connects on the reader thread."""
        words = self.question.get().strip()
        if not words or self._events is not None:
            return
        self.question.delete(0, "end")
        self._write(f"{words}\n", "question")
        self._messages.append({"role": "user", "content": words})
        self._events = self._client.create_chat_completion(
            model=self._model, messages=self._messages, stream=True, nowait=True
        )
        self._set_running(True)
        self._look()

    def stop_answer(self) -> None:
        """Stop the answer; the queue's end comes with the next look."""
        if self._events is not None:
            self._events.close()

    def close(self) -> None:
        """Close the window, and the stream with it."""
        self.stop_answer()
        self.root.destroy()

    def _look(self) -> None:
        """Show what has come, then come back: the window's own work has its turn in between."""
        assert self._events is not None
        pieces = []
        ended, error = False, None
        try:
            for _ in range(MOST):
                event = self._events.get_nowait()
                if event is DONE:
                    ended = True
                    break
                if isinstance(event, ChatCompletionChunk) and event.choices:
                    pieces.append(event.choices[0].delta.content or "")
        except queue.Empty:
            pass
        except OpenAIStreamError as caught:  # in the place of DONE
            ended, error = True, caught
        self._write("".join(pieces))
        if ended:
            self._finish(error)
        else:
            self.root.after(TICK, self._look)

    def _finish(self, error: OpenAIStreamError | None) -> None:
        assert self._events is not None
        stream, self._events = self._events.stream, None
        if error is not None:
            self._write(f"\n{error}\n", "error")
        elif stream.cancelled():
            self._write("\nStopped.\n", "note")
        else:
            self._write("\n")
        # What had come is kept, on the screen and for the next question.
        choices = stream.snapshot().choices
        answer = choices[0].message.content if choices else None
        if answer:
            self._messages.append({"role": "assistant", "content": answer})
        else:
            self._messages.pop()
        self._set_running(False)

    def _set_running(self, running: bool) -> None:
        self.send.configure(state="disabled" if running else "normal")
        self.stop.configure(state="normal" if running else "disabled")
        self.question.focus_set()

    def _write(self, text: str, *tags: str) -> None:
        if not text:
            return
        at_end = self.transcript.yview()[1] == 1.0
        self.transcript.configure(state="normal")
        self.transcript.insert("end", text, tags)
        self.transcript.configure(state="disabled")
        if at_end:  # whoever has scrolled back is left in peace
            self.transcript.see("end")


def main() -> int:
    """Open the window."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--local", action="store_true", help="a small model on this machine")
    parser.add_argument("--model", default=os.environ.get("OPENAI_MODEL", "gpt-6-luna"))
    options = parser.parse_args()
    with ExitStack() as stack:
        try:
            if options.local:
                server = stack.enter_context(LocalServer())
                # No key of the environment has any business there.
                client = Client(api_key="none", base_url=server.base_url)
                options.model = server.model
            else:
                client = Client()
        except (ConfigurationError, APIConnectionError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        root = tk.Tk()
        ChatWindow(root, stack.enter_context(client), options.model)
        root.mainloop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
