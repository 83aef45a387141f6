"""What is said in a chat: typed at a prompt, or read from a pipe."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path


async def texts(folder: Path) -> AsyncIterator[str]:
    """Yield what is said, until the end of input."""
    ask: Callable[[], Awaitable[str]] = _prompt(folder) if sys.stdin.isatty() else _line()
    while True:
        try:
            text = (await ask()).strip()
        except KeyboardInterrupt:  # the line is cleared
            continue
        except EOFError:
            return
        if text:
            yield text


def _line() -> Callable[[], Awaitable[str]]:
    """Read lines in threads that nobody waits for at the end: a pipe that stays open would hold the program up."""
    # Unbuffered: a thread that is left behind in a buffered read keeps its lock, on which the interpreter dies.
    source = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115 -- a descriptor

    async def ask() -> str:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[bytes] = loop.create_future()

        def deliver(line: bytes) -> None:
            if not found.done():
                found.set_result(line)

        def read() -> None:
            line = source.readline()
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(deliver, line)

        threading.Thread(target=read, name="barnabas-stdin", daemon=True).start()
        line = await found
        if not line:
            raise EOFError
        return line.decode(errors="replace")

    return ask


def _prompt(folder: Path) -> Callable[[], Awaitable[str]]:
    """Make the prompt: several lines, a history that is kept."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("enter")
    @keys.add("c-j")  # typed ahead, while the terminal was not ours
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    folder.mkdir(parents=True, exist_ok=True)
    past = folder / "history"
    past.touch(mode=0o600)
    session: PromptSession[str] = PromptSession(
        "> ", multiline=True, key_bindings=keys, history=FileHistory(str(past)), prompt_continuation="  "
    )
    return session.prompt_async
