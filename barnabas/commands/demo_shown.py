"""How ``barnabas demo`` tells what happens: to people, or to a program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from barnabas.commands import context

if TYPE_CHECKING:
    from barnabas.demo import Exchange
    from barnabas.history.logged_event import LoggedEvent
    from barnabas.settings import Settings
    from streams.providers.protocol import ChatMessage


class ToPeople:
    """Titles and text on standard output, answers as they come."""

    def title(self, text: str) -> None:
        """Begin a part."""
        typer.secho(f"\n{text}", fg=typer.colors.CYAN)

    def say(self, text: str) -> None:
        """Tell what goes on beside the conversation."""
        self.write(text + "\n")

    def write(self, text: str) -> None:
        """Write a piece of an answer."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def ready(self, settings: Settings, servers: str, seconds: float) -> None:
        """Tell that messages may be sent."""
        self.say(
            f"Kafka on {servers}, six topics, one worker with the model {settings.model}: ready after {seconds:.1f} s"
        )

    def asked(self, session: str, text: str) -> None:
        """Tell what is sent."""
        typer.secho(f"{session}       {text}", bold=True)
        self.write("barnabas  ")

    def answered(self, exchange: Exchange) -> None:
        """Tell how the answer came; its text is written."""
        self.say(
            f"\n          (first token {exchange.first_token_s * 1000:.0f} ms after the message was published, "
            f"{exchange.deltas} token records)\n"
        )

    def remembered(self, prompt: Sequence[ChatMessage], counts: Sequence[int | None]) -> None:
        """Tell what the last prompt held, and how many tokens the model counted in each."""
        for message in prompt:
            self.say(f"{message.role:<10}{message.content.strip()}")
        self.say(
            "\nThe first exchange is in the second prompt: folded out of the events before that turn, as in the table."
        )
        if all(counts):
            self.say(
                f"The model itself counted {counts[0]} prompt tokens in the first call and {counts[1]} in the second."
            )

    def logged(self, record: LoggedEvent) -> None:
        """Show an event of the log."""
        from barnabas.commands.events import show

        if record.event is not None:
            show(record, record.event)

    def stopped(self, seconds: float) -> None:
        """Tell that nothing is left running."""
        self.say(f"\nAll stopped after {seconds:.1f} s. To go on: barnabas up")


class ToProgram(ToPeople):
    """One JSON object a line on standard output; what is for people goes to stderr or is left out."""

    def title(self, text: str) -> None:
        """Leave titles out."""

    def say(self, text: str) -> None:
        """Tell people."""
        context.say(text)

    def write(self, text: str) -> None:
        """Leave pieces out: the answer is printed whole."""

    def ready(self, settings: Settings, servers: str, seconds: float) -> None:
        """Print address, model and the time it took."""
        fields = {"bootstrap_servers": servers, "model": settings.model, "seconds": seconds}
        context.print_json({"event": "ready", **fields})

    def asked(self, session: str, text: str) -> None:
        """Print what is sent."""
        context.print_json({"event": "message", "session_id": session, "text": text})

    def answered(self, exchange: Exchange) -> None:
        """Print the answer and how it came."""
        fields = {"text": exchange.answer.text, "turn_id": exchange.answer.turn_id}
        more = {"first_token_s": exchange.first_token_s, "deltas": exchange.deltas}
        context.print_json({"event": "answer", **fields, **more})

    def remembered(self, prompt: Sequence[ChatMessage], counts: Sequence[int | None]) -> None:
        """Print the prompt."""
        messages = [{"role": message.role, "content": message.content} for message in prompt]
        context.print_json({"event": "prompt", "messages": messages, "prompt_tokens": list(counts)})

    def logged(self, record: LoggedEvent) -> None:
        """Print an event of the log, as ``barnabas replay --json`` does."""
        from barnabas.commands.replay import show

        show(record, as_json=True)

    def stopped(self, seconds: float) -> None:
        """Print how long it all took."""
        context.print_json({"event": "stopped", "seconds": seconds})
