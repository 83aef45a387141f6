"""A page of the console in a browser, and everything that it must not do, noted."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request, expect

#: On a busy machine; nothing waits for it where all is well.
PATIENCE_MS = 60_000

expect.set_options(timeout=PATIENCE_MS)

#: Says what a policy refused, which not every console message does.
_LISTEN = """addEventListener("securitypolicyviolation", (event) =>
    console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`))"""


class ConsolePage:
    """One tab.

    Args:
        context: Of the browser; its options say light or dark, and how wide.
        url: The gateway's.

    Attributes:
        page: Playwright's.
        errors: What the browser complained about.
        foreign: Requests to anybody but the gateway.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self.requests: list[Request] = []
        self._forgiven: list[re.Pattern[str]] = []
        self.page.add_init_script(_LISTEN)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        self.page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _asked(self, request: Request) -> None:
        self.requests.append(request)
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self.foreign.append(request.url)

    def forgive(self, pattern: str) -> None:
        """Take complaints like that for what the test is about."""
        self._forgiven.append(re.compile(pattern))

    def check(self) -> None:
        """Nobody else was asked, nothing was refused by the policy, nothing failed."""
        left = [error for error in self.errors if not any(one.search(error) for one in self._forgiven)]
        assert (left, self.foreign) == ([], [])

    # -- Going somewhere

    def chat(self, session: str = "") -> ConsolePage:
        """Open a conversation; a new one where none is named."""
        self.page.goto(f"{self.url}/#/chat/{quote(session, safe='')}" if session else f"{self.url}/")
        expect(self.field).to_be_visible()
        return self

    def open(self, place: str) -> ConsolePage:
        """Open another page."""
        self.page.goto(f"{self.url}/#/{place}")
        expect(self.page.locator("h1")).to_be_visible()
        return self

    @property
    def session(self) -> str:
        """The session in the address."""
        found: str = self.page.evaluate("decodeURIComponent(location.hash.split('/').slice(2).join('/'))")
        return found

    # -- Talking

    @property
    def field(self) -> Locator:
        """Where one writes."""
        return self.page.get_by_label("Message", exact=True)

    def say(self, text: str) -> None:
        """Write a message and send it with Enter."""
        self.field.fill(text)
        self.field.press("Enter")

    @property
    def turns(self) -> Locator:
        """All turns."""
        return self.page.locator("article.turn")

    def turn(self, number: int = -1) -> Locator:
        """One turn; the last unless another is named."""
        return self.turns.nth(number)

    def answer(self, number: int = -1) -> Locator:
        """The text of a turn's answer, without tools and notes."""
        return self.turn(number).locator(".markdown")

    def expect_state(self, state: str, number: int = -1) -> None:
        """Wait until a turn is in a state."""
        expect(self.turn(number)).to_have_attribute("data-state", state)

    def evaluate(self, script: str) -> Any:
        """Run a script in the page."""
        return self.page.evaluate(script)
