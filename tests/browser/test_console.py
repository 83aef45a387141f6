"""The console in headless Chromium, against a real gateway, worker and Kafka.

At the end of each test its tabs have asked nobody but the gateway, the policy has refused nothing, and no script
failed: see ``tab``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from confluent_kafka import Producer
from playwright.sync_api import Route, expect

from barnabas.gateway.security.api_key import new_key
from barnabas.gateway.stream_event import StreamEvent, sse_frame
from barnabas.stream_fold import TurnFold
from schemas.attempt import PUT_ASIDE, Attempt
from schemas.tokens import Token, TokenKind, ToolUse
from tests.browser.conftest import RARE_HEARTBEAT_S, Asking, Served
from tests.browser.console_page import ConsolePage
from tests.browser.script import FIRST_HALF, GROWING, HOSTILE, SECOND_HALF, WORDS
from tests.support.patience import CONDITION_S
from topics.partitioner import partition_for

pytestmark = pytest.mark.timeout(180)

Tab = Callable[..., ConsolePage]

#: What the browser itself says of a gateway that is away.
_AWAY = r"ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_NETWORK"


def _events(served: Served, session: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = served.get(f"/sessions/{session}/events", limit=500)["events"]
    return found


def _wait(condition: Callable[[], object]) -> None:
    """Wait until it is so; it is not where the gateway gave no answer, or not this one."""
    deadline, last = time.monotonic() + CONDITION_S, ""
    while True:
        try:
            if condition():
                return
        except httpx.HTTPError as error:
            last = f": {error}"
        assert time.monotonic() < deadline, f"it did not come true{last}"
        time.sleep(0.05)


def test_conversation_shows_markdown_code_and_folded_tools(served: Served, tab: Tab) -> None:
    """Streamed; the address is the session's from the first message on; the log says the same as the page."""
    console = tab().chat()
    console.say("What is a log?")
    console.expect_state("completed")
    answer = console.turn().locator(".answer")
    expect(answer.locator("strong")).to_have_text("every")
    expect(answer.locator("ol > li")).to_have_count(2)
    expect(answer.locator("td")).to_have_text(["events", "for ever", "tokens", "a day"])
    expect(answer.locator("td").nth(1)).to_have_css("text-align", "right")
    expect(answer.locator("figure.code code")).to_have_text(
        "session = evolve(session, event)  # pure: <b>no</b> effects"
    )
    expect(answer.locator("figcaption span").first).to_have_text("python")
    link = answer.get_by_role("link", name="the paper")
    expect(link).to_have_attribute("href", "https://example.com/log?a=1&b=2")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")

    console.say("How many of 7-113?")
    console.expect_state("completed")
    tool = console.turn().locator("details.tool")
    expect(tool.locator("summary")).to_contain_text("stock")
    expect(tool.locator(".tool-state")).to_have_text("done")
    expect(tool.locator(".tool-body")).to_be_hidden()
    tool.locator("summary").click()
    expect(tool.locator(".tool-body")).to_contain_text('"pieces": "42"')
    expect(console.answer()).to_have_text(
        ["Let me look that up.", "There are 42 pieces of article 7-113 in stock. Shall I put some aside?"]
    )
    told = [event["text"] for event in _events(served, console.session) if event["type"] == "TurnStarted"]
    assert told == ["What is a log?", "How many of 7-113?"]

    # What the log tells after a reload is what the stream told.
    told_by_both = console.page.locator(".said, .answer")
    shown = told_by_both.all_inner_texts()
    console.page.reload()
    expect(console.turns).to_have_count(2)
    console.expect_state("completed")
    console.turn().locator("details.tool summary").click()
    _wait(lambda: told_by_both.all_inner_texts() == shown)


def test_failure_is_said_and_its_text_is_text(tab: Tab) -> None:
    """With its cause."""
    console = tab().chat()
    console.say("fail, please")
    console.expect_state("failed")
    expect(console.turn().get_by_text("the model <b>refuses</b>")).to_be_visible()
    expect(console.turn().locator(".outcome b")).to_have_count(0)


def test_stop_ends_the_answer_and_keeps_its_text(served: Served, tab: Tab) -> None:
    """The model would never end by itself. Then the session goes on."""
    console = tab().chat()
    console.say("hang on")
    expect(console.answer()).to_have_text(WORDS)
    console.expect_state("running")
    console.page.get_by_role("button", name="Stop").click()
    console.expect_state("cancelled")
    expect(console.answer()).to_have_text(WORDS)
    expect(console.page.get_by_role("button", name="Stop")).to_have_count(0)
    assert _events(served, console.session)[-1]["type"] == "TurnCancelled"
    console.say("still there?")
    expect(console.answer()).to_have_text("You said: still there?")


def test_reload_in_mid_answer_shows_it_from_its_beginning(served: Served, tab: Tab) -> None:
    """By the id that was kept. Seen to fail without `keepPlace`: then the text before the reload is missing."""
    console = tab().chat()
    console.say("held while the page is reloaded")
    expect(console.answer()).to_have_text([FIRST_HALF])
    assert console.evaluate("localStorage['barnabas.places']")
    console.page.reload()
    expect(console.answer()).to_have_text([FIRST_HALF])
    expect(console.turn().locator(".said")).to_have_text("held while the page is reloaded")
    served.open_gate("reload")
    expect(console.answer()).to_have_text([FIRST_HALF, SECOND_HALF])
    console.expect_state("running")  # no end has repaired it
    # Another tab knows as much; stopped there, it is stopped here.
    other = ConsolePage(console.page.context, console.url).chat(console.session)
    expect(other.answer()).to_have_text([FIRST_HALF, SECOND_HALF])
    other.page.get_by_role("button", name="Stop").click()
    other.expect_state("cancelled")
    console.expect_state("cancelled")
    expect(console.answer()).to_have_text([FIRST_HALF, SECOND_HALF])
    other.check()


def test_gateway_killed_in_mid_answer_nothing_is_missed(served: Served, tab: Tab) -> None:
    """The worker goes on; the page says so, comes back by itself, and has the words of the time between.

    Seen to fail with a feed that does not come back, and with one that comes back without its last id.
    """
    console = tab().chat()
    console.forgive(_AWAY)
    console.say("held while the gateway is killed")
    expect(console.answer()).to_have_text([FIRST_HALF])
    served.kill_gateway()
    expect(console.page.get_by_text("The connection is lost")).to_be_visible()
    served.open_gate("kill")
    console.say("and this one waits for it")  # written while nobody listens: sent once, later
    served.restart_gateway()
    expect(console.answer(0)).to_have_text([FIRST_HALF, SECOND_HALF])
    console.expect_state("running", 0)
    expect(console.page.get_by_role("alert")).to_be_hidden()
    console.page.get_by_role("button", name="Stop").click()
    console.expect_state("cancelled", 0)
    expect(console.answer(1)).to_have_text("You said: and this one waits for it")
    told = [event["text"] for event in _events(served, console.session) if event["type"] == "TurnStarted"]
    assert told == ["held while the gateway is killed", "and this one waits for it"]


def test_attempts_are_not_mixed_and_gaps_are_repaired(tab: Tab) -> None:
    """What the page makes of records of crashed workers is what the Python client makes of them.

    The records are made up, since such a crash takes its time; they come again and again, which changes nothing.
    """
    attempts = [Attempt(5), Attempt(5, 1), Attempt(9)]
    common = {"session_id": "folded", "epoch": 9, "occurred_at": 1}

    def turn(name: str, *records: tuple[Attempt, int, TokenKind, str | None]) -> list[Token]:
        ids = {"turn_id": f"t-{name}", "message_id": name}
        return [
            Token(**common, **ids, attempt=attempt, index=index, kind=kind, text=text, deltas=2)
            for attempt, index, kind, text in records
        ]

    first, second, third = attempts
    started, delta, superseded, completed = (
        TokenKind.STARTED,
        TokenKind.DELTA,
        TokenKind.SUPERSEDED,
        TokenKind.COMPLETED,
    )
    tokens = [
        *turn("crashed", (first, 0, started, None), (first, 1, delta, "lost "), (second, 0, superseded, None)),
        *turn("crashed", (second, 1, delta, "lost too"), (first, 2, delta, "a zombie's"), (third, 0, superseded, None)),
        *turn("crashed", (third, 1, delta, "kept "), (third, 1, delta, "kept "), (third, 2, delta, "all")),
        *turn("crashed", (third, 3, completed, "kept all"), (second, 3, completed, "lost too")),
        *turn("gap", (third, 0, started, None), (third, 2, delta, "end"), (third, 3, completed, "begin and end")),
        *turn("tail", (third, 0, started, None), (third, 1, delta, "begin "), (third, 3, completed, "begin and end")),
        *turn("open", (third, 0, started, None), (third, 1, delta, "so far")),
        *turn("retried", (PUT_ASIDE, 0, TokenKind.FAILED, None), (third, 0, superseded, None)),
        *turn("retried", (third, 1, delta, "after all"), (third, 2, completed, "after all")),
    ]
    expected: dict[str, TurnFold] = {}
    for token in tokens:
        expected.setdefault(token.message_id, TurnFold()).apply(token)
    body = b"".join(sse_frame(StreamEvent.of(token), f"0:{at}:9") for at, token in enumerate(tokens))
    console = tab()
    console.forgive("status of 404")  # the log has none of this
    console.page.route(
        "**/sessions/folded/stream", lambda route: route.fulfill(body=body, content_type="text/event-stream")
    )
    places = json.dumps({"folded": {"id": "0:0:9", "at": time.time_ns() // 1_000_000}})
    console.page.add_init_script(f"localStorage['barnabas.places'] = {json.dumps(places)}")
    console.chat("folded")
    for number in range(2):
        expect(console.turns).to_have_count(len(expected))
        for name, fold in expected.items():
            article = console.page.locator(f'article.turn[data-message="{name}"]')
            expect(article.locator(".markdown")).to_have_text(fold.text)
        if not number:
            for _ in range(2):  # all of it once more; the page asks again when it has read what it got
                with console.page.expect_response("**/stream"):
                    pass
    console.expect_state("running", list(expected).index("open"))


def test_slider_shows_the_memory_as_it_was(served: Served, tab: Tab) -> None:
    """By keyboard, behind every event of the log; what is shown is what the gateway says of that offset."""
    console = tab().chat()
    for text in ("one", "two"):
        console.say(text)
        expect(console.answer()).to_have_text(f"You said: {text}")
    session = console.session
    events = _events(served, session)
    console.page.get_by_role("link", name="Timeline").click()
    slider = console.page.get_by_role("slider")
    memory = console.page.locator(".memory")
    entries = memory.locator(".entries > li > :last-child")
    expect(entries).to_have_text(["one", "You said: one", "two", "You said: two"])
    slider.focus()
    slider.press("Home")
    for event in events:
        expect(memory).to_have_attribute("data-offset", str(event["offset"]))
        was = served.get(f"/sessions/{session}", at=event["offset"])
        expect(entries).to_have_text([entry["text"] for entry in was["memory"]])
        expect(memory.locator(".is-open")).to_have_count(int(was["open_turn"] is not None))
        expect(slider).to_have_attribute("aria-valuetext", re.compile(event["type"]))
        slider.press("ArrowRight")
    console.page.locator(".events li").filter(has_text="TurnCompleted").first.get_by_role("button").click()
    expect(entries).to_have_text(["one", "You said: one"])
    console.page.get_by_role("button", name="Newest").click()
    expect(entries).to_have_count(4)


def test_slider_covers_the_whole_log(served: Served, tab: Tab) -> None:
    """Any offset, loaded or not; a key goes on from there by events. Seen to fail with a slider over what is loaded."""
    session, number = "long-log", 60
    for text in map(str, range(number)):
        served.send(session, text)
    _wait(lambda: served.get(f"/sessions/{session}")["turns"] == number)
    offsets = [event["offset"] for event in _events(served, session)]
    assert len(offsets) > 110, "more than a page"
    console = tab().open(f"sessions/{session}")
    page = console.page
    memory, slider = page.locator(".memory"), page.get_by_role("slider")
    expect(memory).to_have_attribute("data-offset", str(offsets[-1]))
    expect(slider).to_have_attribute("min", str(offsets[0]))
    slider.fill(str(offsets[2]))
    expect(memory).to_have_attribute("data-offset", str(offsets[2]))
    expect(page.locator(".events li")).to_have_count(3)
    slider.press("ArrowRight")
    expect(memory).to_have_attribute("data-offset", str(offsets[3]))
    slider.press("Home")
    expect(memory).to_have_attribute("data-offset", str(offsets[0]))
    expect(memory.locator(".is-open")).to_contain_text("0")
    page.get_by_role("button", name="Newest").click()
    expect(memory).to_have_attribute("data-offset", str(offsets[-1]))
    slider.fill(str(offsets[1]))
    expect(memory).to_have_attribute("data-offset", str(offsets[1]))
    page.get_by_role("button", name="Show later").click()
    expect(page.locator(".events li")).to_have_count(102)
    slider.press("End")
    expect(memory).to_have_attribute("data-offset", str(offsets[-1]))


def test_keyboard_alone_is_enough(tab: Tab) -> None:
    """Enter sends, Shift+Enter begins a line, Esc stops; Tab reaches everything in order and shows where it is."""
    console = tab()
    page = console.page
    page.goto(console.url)
    expect(console.field).to_be_focused()
    page.keyboard.type("hang")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("on")
    page.keyboard.press("Enter")
    expect(console.turn().locator(".said")).to_have_text("hang\non")
    expect(console.field).to_be_focused()
    expect(console.field).to_have_value("")
    expect(console.answer()).to_have_text(WORDS)
    page.keyboard.press("Escape")
    console.expect_state("cancelled")
    live = page.get_by_role("log")
    expect(live).to_contain_text("The answer was stopped.")
    assert live.get_attribute("aria-live") == "polite"

    page.locator("a, button, input, select, textarea, summary").first.focus()
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    order = []
    for _ in range(6):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.innerText.trim()"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", order
    assert order[:5] == ["Barnabas", "Chat", "Sessions", "Dead letters", "Figures"]
    page.get_by_role("link", name="Sessions").press("Enter")
    heading = page.get_by_role("heading", name="Sessions")
    expect(heading).to_be_focused()


def test_text_that_the_markdown_library_fails_at_is_shown(served: Served, tab: Tab) -> None:
    """As far as it can be laid out, then as it is; and the page goes on.

    Seen to fail without the bound in ``BoundedLexer.blockTokens``: the turn stays empty.
    """
    console = tab().chat("")
    console.say("deep")
    console.expect_state("completed")
    expect(console.answer()).to_contain_text(">>> deep")
    assert 0 < console.turn().locator(".answer blockquote").count() < 50
    console.say("and then")
    expect(console.turns).to_have_count(2)
    expect(console.turn(1).locator(".answer")).to_have_text("You said: and then")


class Drip:
    """A session's token stream, made up: each time the page comes back, it is told the next record."""

    def __init__(self, console: ConsolePage, session: str) -> None:
        self._tokens: list[Token] = []
        self._told = 0
        console.forgive("status of 404")  # the log has none of this
        places = json.dumps({session: {"id": "0:0:9", "at": time.time_ns() // 1_000_000}})
        console.page.add_init_script(f"localStorage['barnabas.places'] = {json.dumps(places)}")
        console.page.route(f"**/sessions/{session}/stream", self._answer)
        self._session = session

    def add(self, message: str, kind: TokenKind, text: str | None = None, tool: ToolUse | None = None) -> None:
        """Have one more record told."""
        index = sum(token.message_id == message for token in self._tokens)
        self._tokens.append(
            Token(
                session_id=self._session, turn_id=f"t-{message}", message_id=message, attempt=Attempt(9), epoch=9,
                occurred_at=1, index=index, kind=kind, text=text, tool=tool,
            )
        )  # fmt: skip

    def _answer(self, route: Route) -> None:
        frames = [
            sse_frame(StreamEvent.of(token), f"0:{at}:9")
            for at, token in enumerate(self._tokens[self._told :], self._told + 1)
        ]
        self._told = len(self._tokens)
        route.fulfill(body=b"".join(frames) or b": alive\n\n", content_type="text/event-stream")


def test_text_that_grows_is_laid_out_as_it_would_be_at_once(tab: Tab) -> None:
    """Lists, tables, code, headings and quotes that go on where they seemed to be over; definitions at the end.

    Seen to fail with all blocks but one closed in ``Blocks``, and without the second look at definitions.
    """
    console = tab()
    drip = Drip(console, "growing")
    drip.add("step", TokenKind.STARTED)
    console.chat("growing")
    for upto, piece in enumerate(GROWING, 1):
        drip.add("step", TokenKind.DELTA, piece)
        whole = f"whole-{upto}"
        drip.add(whole, TokenKind.STARTED)
        drip.add(whole, TokenKind.DELTA, "".join(GROWING[:upto]))
        expect(console.page.locator(f'[data-message="{whole}"] .markdown')).to_be_visible()
        if "https" not in "".join(GROWING[:upto]):  # from there on they differ, until the end
            assert _inside(console, "step") == _inside(console, whole)
    for message in ("step", whole):
        drip.add(message, TokenKind.COMPLETED)
        expect(console.page.locator(f'[data-message="{message}"]')).to_have_attribute("data-state", "completed")
    expect(console.page.locator('[data-message="step"] a[href="https://example.com/later"]')).to_have_count(1)
    assert _inside(console, "step") == _inside(console, whole)


def _inside(console: ConsolePage, message: str) -> str:
    found: str = console.page.locator(f'[data-message="{message}"] .markdown').inner_html()
    return found


def test_what_is_told_costs_what_is_new(tab: Tab) -> None:
    """One more word behind 90,000 characters: none of those is looked at again, and their elements stay.

    What regular expressions are given to read is counted, in characters: 18,000 here; 228,000,000 where the whole
    text is lexed again, as it was.
    """
    paragraph = "Some *words* here and there are plain enough to read. " * 4
    text = "\n\n".join([paragraph.strip()] * 400)
    console = tab()
    console.page.add_init_script(_COUNT_READ)
    drip = Drip(console, "long")
    drip.add("m", TokenKind.STARTED)
    drip.add("m", TokenKind.DELTA, text)
    console.chat("long")
    answer = console.page.locator('[data-message="m"] .markdown')
    expect(answer.locator("p")).to_have_count(400)
    console.evaluate("document.querySelector('[data-message=m] .markdown p').mark = 1; window.read = 0")
    drip.add("m", TokenKind.DELTA, " More.")
    expect(answer).to_contain_text("read. More.")
    assert console.evaluate("document.querySelector('[data-message=m] .markdown p').mark") == 1
    assert 0 < console.evaluate("window.read") < 5 * len(text)


#: Adds up the lengths of what regular expressions are given from where they begin.
_COUNT_READ = """(() => {
    const exec = RegExp.prototype.exec;
    window.read = 0;
    RegExp.prototype.exec = function (text) {
        window.read += String(text).length - (this.sticky || this.global ? this.lastIndex : 0);
        return exec.call(this, text);
    };
})()"""


def test_turn_that_cannot_be_laid_out_leaves_the_others(tab: Tab) -> None:
    """Its text is shown. Seen to fail without ``Fallback``: nothing is shown at all, and an error is not caught."""
    console = tab()
    drip = Drip(console, "broken")
    for message in ("before", "odd", "behind"):
        drip.add(message, TokenKind.STARTED)
        drip.add(message, TokenKind.DELTA, f"text of {message}")
        if message == "odd":
            drip.add(message, TokenKind.TOOL, tool=ToolUse(call_id="c", name="t", arguments=7))  # type: ignore[arg-type]
        drip.add(message, TokenKind.COMPLETED)
    console.chat("broken")
    expect(console.turns).to_have_count(3)
    expect(console.turn(0)).to_contain_text("text of before")
    expect(console.turn(1)).to_contain_text("text of odd")
    expect(console.turn(1)).to_contain_text("cannot be laid out")
    expect(console.turn(2)).to_contain_text("text of behind")
    expect(console.field).to_be_visible()


def test_code_is_copied_over_plain_http_as_well(tab: Tab) -> None:
    """There a browser has no ``navigator.clipboard``. Seen to fail without the other way: an error is not caught."""
    console = tab()
    console.page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    console.chat()
    console.say("What is a log?")
    console.expect_state("completed")
    console.page.evaluate("addEventListener('copy', () => { window.copiedText = String(getSelection()) })")
    console.page.get_by_role("button", name="Copy code").click()
    expect(console.page.get_by_role("button", name="Copy code")).to_have_text("Copied")
    assert console.evaluate("window.copiedText") == "session = evolve(session, event)  # pure: <b>no</b> effects"


@pytest.mark.parametrize("is_reloaded", [False, True])
def test_hostile_text_is_inert(served: Served, tab: Tab, *, is_reloaded: bool) -> None:
    """Of models, tools and users, from stream and log.

    Seen to fail with HTML passed on to DOMPurify instead of being shown as text; and with DOMPurify off: then code in a
    list has a class of the model's making.
    """
    console = tab().chat("<img src=x onerror=window.hacked='id'>" if is_reloaded else "")
    console.forgive("status of 404")  # nobody has talked to it yet
    console.say("attack")
    console.expect_state("completed")
    console.say(HOSTILE)
    expect(console.turns).to_have_count(2)
    console.expect_state("completed")
    if is_reloaded:
        console.page.reload()
        expect(console.turns).to_have_count(2)
        console.page.get_by_role("link", name="Timeline").click()
        expect(console.page.locator(".memory .entry")).to_have_count(4)
    else:
        console.turn(0).locator("details.tool summary").first.click()
    root = ".timeline" if is_reloaded else ".turns"
    assert console.evaluate("window.hacked") is None
    assert console.evaluate("getComputedStyle(document.body).display") != "none"
    made = console.evaluate(
        f"[...new Set([...document.querySelectorAll('{root} *')].map((one) => one.localName))].sort().join(' ')"
    )
    assert not re.search(r"\b(script|img|iframe|style|object|embed|math|form|base|meta|link|noscript)\b", made), made
    assert console.evaluate(
        f"""[...document.querySelectorAll('{root} .answer *, {root} .entry *')].flatMap((one) =>
            one.closest('svg') ? [] : one.getAttributeNames())
            .filter((name) => /^on|style|srcdoc|^name$|^id$/.test(name))"""
    ) == []  # fmt: skip
    assert set(
        console.evaluate(
            f"[...document.querySelectorAll('{root} .markdown > div *')].flatMap((one) => one.getAttributeNames())"
        )
    ) <= {"href", "title", "start", "align", "target", "rel"}
    links = console.evaluate(f"[...document.querySelectorAll('{root} .markdown a')].map((one) => one.href)")
    assert {link.partition(":")[0] for link in links} <= {"https", "http", "mailto"}, links
    if not is_reloaded:
        assert "https://evil.example/pixel.png" in links  # an image became a link
        expect(console.answer().first).to_contain_text("<script>window.hacked")


def test_sessions_come_in_pages_and_are_filtered(served: Served, tab: Tab) -> None:
    """By agent and state; a page goes on behind the one before."""
    producer = Producer({"bootstrap.servers": served.kafka})
    for number in range(55):
        key = f"many-{number:03}".encode()
        body = {"text": "hello", "agent": "clerk"}
        producer.produce(served.names.messages, json.dumps(body).encode(), key, partition_for(key, 4))
    assert producer.flush(20) == 0
    names = [f"many-{number:03}" for number in range(55)]
    _wait(lambda: len(served.get("/sessions", agent="clerk", limit=100)["sessions"]) == len(names))
    console = tab().open("sessions")
    console.page.get_by_label("Agent").select_option("clerk")
    rows = console.page.locator("tbody tr")
    expect(rows).to_have_count(50)
    console.page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(55)
    expect(rows.get_by_role("rowheader")).to_have_text(names)
    console.page.get_by_label("State").select_option("suspended")
    expect(console.page.get_by_text("No session is like that.")).to_be_visible()
    console.page.get_by_label("By id").fill("many-007")
    console.page.get_by_role("button", name="Open").click()
    expect(console.page.get_by_role("heading", name="many-007")).to_be_visible()
    expect(console.page.locator(".memory .entry")).to_have_count(2)


def test_pages_without_a_session_are_passed_over(tab: Tab) -> None:
    """A page of a filtered list may be empty although more follow. Seen to fail: the list says that there is none."""
    console = tab()
    asked: list[str] = []

    def answer(route: Route) -> None:
        cursor = parse_qs(urlsplit(route.request.url).query).get("cursor", ["0"])[0]
        asked.append(cursor)
        is_there = cursor == "3"
        session = {
            "session_id": "far-away", "state": "idle", "agent": "clerk", "created_at": 1, "updated_at": 1, "turns": 1,
            "memories": 2, "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        }  # fmt: skip
        body = {
            "sessions": [session] if is_there else [],
            "next_cursor": str(int(cursor) + 1),
            "has_more": True,
            "freshness": [],
        }
        route.fulfill(json=body)

    console.page.route(re.compile(r"/sessions\?"), answer)
    console.open("sessions")
    expect(console.page.get_by_role("link", name="far-away")).to_be_visible()
    assert asked == ["0", "1", "2", "3"]
    more = console.page.get_by_role("button", name="Show more")
    with console.page.expect_response(re.compile("cursor=24")):
        more.click()
    expect(more).to_be_enabled()
    assert asked == [str(number) for number in range(25)], "not for ever"


def test_dead_letters_are_shown_with_cause_and_place(served: Served, tab: Tab) -> None:
    """What was in them is text."""
    producer = Producer({"bootstrap.servers": served.kafka})
    producer.produce(served.names.messages, b"{<img src=x onerror=window.hacked=1>", b"poisoned", 1)
    assert producer.flush(20) == 0
    _wait(lambda: served.get("/dead-letters")["dead_letters"])
    console = tab().open("dead-letters")
    letter = console.page.locator(".letter").filter(has_text="poisoned").first
    expect(letter.locator(".cause")).not_to_be_empty()
    expect(letter).to_contain_text(re.compile(rf"{served.names.messages}-\d@\d+"))
    letter.locator("summary").click()
    expect(letter.locator("pre")).to_have_text("{<img src=x onerror=window.hacked=1>")
    assert console.evaluate("window.hacked") is None


def test_key_is_asked_for_kept_by_the_tab_and_sent_as_a_header(asking: Asking, tab: Tab) -> None:
    """A wrong one is refused and asked for again."""
    key = asking.keys["reader"]
    console = tab(asking.url).chat()
    console.forgive("status of 40[13]")
    dialog = console.page.get_by_role("dialog")
    field = dialog.get_by_label("Key")
    expect(field).to_be_focused()
    field.fill(new_key("reader").key)
    field.press("Enter")
    expect(dialog.get_by_role("alert")).to_be_visible()
    field.fill(key)
    field.press("Enter")
    expect(dialog).to_be_hidden()
    expect(console.field).to_be_focused()
    console.say("hello")
    expect(console.answer()).to_have_text("You said: hello")
    session = console.session
    console.page.reload()
    expect(console.answer()).to_have_text("You said: hello")
    expect(dialog).to_be_hidden()
    console.open("figures")
    expect(console.page.get_by_role("alert")).to_contain_text("operate")
    sent = [request for request in console.requests if "/sessions/" in request.url]
    assert sent[-1].headers["authorization"] == f"Bearer {key}"
    assert not [request.url for request in console.requests if key in request.url]
    assert key not in console.evaluate("JSON.stringify(localStorage)")
    expect(console.page.get_by_role("link", name=session)).to_be_visible()
    console.page.get_by_role("button", name="Forget the key").click()
    expect(field).to_be_focused()
    expect(console.page.locator("body")).not_to_contain_text(session)
    kept = console.evaluate("JSON.stringify(sessionStorage) + JSON.stringify(localStorage)")
    assert key not in kept
    assert session not in kept


def _signed_in(asking: Asking, tab: Tab, holder: str) -> ConsolePage:
    console = tab(asking.url)
    console.page.add_init_script(f"sessionStorage['barnabas.key'] = {json.dumps(asking.keys[holder])}")
    return console


def test_only_what_a_key_opens_is_offered(asking: Asking, tab: Tab) -> None:
    """Pages and links; an ordinary key may choose an agent. Seen to fail with the scope and links as they were."""
    reader = _signed_in(asking, tab, "reader").chat()
    pages = reader.page.locator(".pages")
    expect(reader.page.get_by_label("Agent").locator("option")).to_have_text(["assistant", "clerk"])
    expect(pages.get_by_role("link")).to_have_text(["Chat", "Sessions"])
    operator = _signed_in(asking, tab, "operator").open("figures")
    expect(operator.page.locator(".pages").get_by_role("link")).to_have_text(
        ["Chat", "Sessions", "Dead letters", "Figures"]
    )


def test_dead_letter_of_a_tenant_is_no_link_for_others(served: Served, asking: Asking, tab: Tab) -> None:
    """A session of another tenant cannot be read. Seen to fail with the key as the session's name: a link to 404."""
    producer = Producer({"bootstrap.servers": served.kafka})
    for key in (b"acme/letter", b"letter"):
        producer.produce(served.names.messages, b'{"text": ""}', key, partition_for(key, 4))
    assert producer.flush(20) == 0
    _wait(lambda: len(served.get("/dead-letters", cause="empty_text")["dead_letters"]) == 2)
    page = _signed_in(asking, tab, "operator").open("dead-letters").page
    expect(page.get_by_text("acme/letter", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="letter", exact=True)).to_have_count(1)
    expect(page.locator(".letter a", has_text="acme")).to_have_count(0)


def test_stream_is_not_given_up_between_rare_heartbeats(asking: Asking, tab: Tab) -> None:
    """The gateway says how rare they are. Seen to fail without its header: given up after 45 s, for ever again."""
    console = _signed_in(asking, tab, "reader")
    console.page.clock.install()
    console.chat()
    console.say("hello")
    console.expect_state("completed")
    console.page.clock.fast_forward(int(RARE_HEARTBEAT_S * 1000))
    console.say("still there?")
    expect(console.answer()).to_have_text("You said: still there?")
    streams = [request for request in console.requests if request.url.endswith("/stream")]
    assert len(streams) == 1
    with console.page.expect_request("**/stream"):
        console.page.clock.fast_forward(int(RARE_HEARTBEAT_S * 3 * 1000))  # nothing at all: it is dead


def test_figures_are_live(served: Served, tab: Tab) -> None:
    """A turn shows in turns a second and in time to first token; every partition has its lag."""
    console = tab().chat()
    console.say("for the figures")
    console.expect_state("completed")
    console.page.get_by_role("link", name="Figures").click()
    page = console.page
    expect(page.locator("tbody tr")).to_have_count(4)
    expect(page.locator("tbody tr td[data-label=Phase]")).to_have_text(["open"] * 4)
    expect(page.locator("tbody tr td[data-label=Lag]").first).to_have_text("0")
    # They are of the last seconds: on a busy machine the turn above may be older by now.
    first_token, turns = (page.locator(f'[data-figure="{name}"]') for name in ("first-token", "turns"))

    def are_shown() -> bool:
        served.send("for-the-figures", "again")
        page.wait_for_timeout(500)
        return bool(re.search(r"[\d.]+ m?s", first_token.inner_text())) and float(turns.inner_text()) > 0

    _wait(are_shown)
    expect(page.locator(".spark path").first).to_be_attached()  # the second answer has come


@pytest.fixture(scope="module")
def seen(served: Served) -> str:
    """Give a session with a conversation for the eye."""
    for text in ("What is a log?", "How many of 7-113?"):
        served.send("seen", text)
    _wait(lambda: served.get("/sessions/seen")["turns"] == 2)
    return "seen"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {}),
        ("dark", {"color_scheme": "dark"}),
        ("phone", {"viewport": {"width": 360, "height": 740}, "has_touch": True}),
    ],
)
def test_pages_are_readable(seen: str, tab: Tab, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    """Nothing is wider than the screen, text stands out from what is behind it, and the field can be reached."""
    console = tab(**options)
    for place in (f"chat/{seen}", f"sessions/{seen}", "sessions", "dead-letters", "figures"):
        console.open(place)
        expect(console.page.locator("article.turn, .memory .entry, .page:not(.timeline)").first).to_be_visible()
        expect(console.page.locator("[aria-busy=true]")).to_have_count(0)
        assert console.evaluate(_WIDE) == [], place
        assert console.evaluate(_FAINT) == []
        console.page.screenshot(path=tmp_path / f"{place.replace('/', '-')}-{name}.png")
    console.open(f"chat/{seen}")
    expect(console.field).to_be_in_viewport()


#: What would have to be scrolled sideways, but for code and tables, which may.
_WIDE = """() => [...document.querySelectorAll("html, body, main, .page, .turns, .events, .memory, .composer")]
    .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.className || one.localName)"""

#: Contrast of each text with what is painted behind it (WCAG 2.2: 4.5 to 1), for the colours that are there.
_FAINT = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, under) => top.slice(0, 3).map((c, at) => c * top[3] + under[at] * (1 - top[3]));
    const behind = (element) => {
        const layers = [];
        for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
        return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
    };
    const light = (rgb) => {
        const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    const walker = document.createTreeWalker(document.querySelector("#console"), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest(":disabled")) continue;
        const back = behind(element);
        const front = over(rgba(getComputedStyle(element).color), back);
        const [high, low] = [light(front), light(back)].sort((a, b) => b - a);
        const ratio = (high + 0.05) / (low + 0.05);
        const name = `${element.localName}.${element.className}`;
        if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${name}: ${element.innerText}`);
    }
    return found;
}"""
