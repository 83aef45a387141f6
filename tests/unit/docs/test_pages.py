"""The documentation's form: nothing that a reader would run escapes the tests, and every link leads somewhere."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from barnabas.settings import Settings
from docs.generate.cli import described
from tests.support.pages.page import read_blocks
from tests.support.processes import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCKS = [block for path in PAGES for block in read_blocks(path, ROOT)]

#: Blocks that no test runs, with their reasons in the pages; one more needs a good reason here, too.
MOST_NOT_RUN = 4

_COMMAND_SPAN = re.compile(r"`barnabas ([a-z][a-z-]*)(?: ([a-z-]+(?:\|[a-z-]+)*))?")
_SPAN = re.compile(r"`([^`\n]+)`")
_GROUPS = [name for name, field in Settings.model_fields.items() if dataclasses.is_dataclass(field.annotation)]
_NESTED_SETTING = re.compile(rf"({'|'.join(_GROUPS)})\.(\w+)(?:: .*)?")
_SET = re.compile(r"(\w+): \d+")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LANGUAGES = {"python", "yaml", "sh", "console", "json", "text"}
_FLAGS = {"background", "quiet", "fails"}
_COMMAND = re.compile(r"^\s*(\$ |barnabas |make |pip |python )", re.MULTILINE)
_HEADING_NOISE = re.compile(r"[^\w\- ]")


def test_blocks_are_of_kinds_that_are_checked() -> None:
    """A block without a language, or of another one, would be run by nobody."""
    unknown = [str(b) for b in BLOCKS if b.language not in _LANGUAGES or not _FLAGS.issuperset(b.flags)]
    assert unknown == []
    unnamed = [str(b) for b in BLOCKS if b.language == "yaml" and b.file_name is None]
    assert unnamed == [], "a yaml block begins with the name of its file: # barnabas.yaml"


def test_text_blocks_hold_no_commands() -> None:
    """A command in a drawing would not be run."""
    assert [str(b) for b in BLOCKS if b.language == "text" and _COMMAND.search(b.text)] == []


def test_blocks_not_run_are_few_and_say_why() -> None:
    """Whatever can be run, is."""
    left_out = [f"{block}: {block.not_run}" for block in BLOCKS if block.not_run is not None]
    assert len(left_out) <= MOST_NOT_RUN, left_out
    told = {path for reason in left_out for path in re.findall(r"tests/[\w/]+\.py", reason)}
    assert [path for path in told if not (ROOT / path).is_file()] == []


def test_json_blocks_are_json() -> None:
    """One object a line, or one in all."""
    for block in BLOCKS:
        if block.language == "json":
            assert _is_json(block.text) or all(map(_is_json, block.text.splitlines())), str(block)


def test_make_verbs_exist() -> None:
    """What pages tell to make is a target."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {verb for path in PAGES for verb in re.findall(r"`make ([a-z]+)", path.read_text())}
    told |= {verb for block in BLOCKS for verb in re.findall(r"^make ([a-z]+)", block.text, re.MULTILINE)}
    assert told - targets == set()


def test_commands_in_sentences_exist() -> None:
    """A command that is named in a sentence is one; ``NAME|NAME`` names several."""
    known = {command.name for command in described()}
    groups = {name.rpartition(" ")[0] for name in known} - {"barnabas"}
    told = {command for path in PAGES for command in _spoken(path.read_text(), groups)}
    assert told - known - groups == set()


def test_settings_in_sentences_exist() -> None:
    """A setting that is named in a sentence, as ``limits.max_turns`` or ``partitions: 16``, is one."""
    spans = {span for path in PAGES for span in _SPAN.findall(_FENCED.sub("", path.read_text()))}
    told = {(m[1], m[2]) for span in spans if (m := _NESTED_SETTING.fullmatch(span)) and m[2] != "py"}
    assert {group for group, _ in told} >= {"limits", "consumer"}
    unknown = [
        f"{group}.{name}"
        for group, name in told
        if name not in {field.name for field in dataclasses.fields(Settings.model_fields[group].annotation)}
    ]
    unknown += [m[1] for span in spans if (m := _SET.fullmatch(span)) and m[1] not in Settings.model_fields]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Files exist, and headings, too."""
    broken = []
    for target in _links(page):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)
    assert broken == []


def _spoken(text: str, groups: set[str]) -> Iterator[str]:
    """Commands in code spans, without their arguments."""
    for first, second in _COMMAND_SPAN.findall(_FENCED.sub("", text)):
        group = f"barnabas {first}"
        yield from (f"{group} {each}" for each in second.split("|")) if group in groups and second else [group]


def _links(page: Path) -> Iterator[str]:
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        for child in token.children or ():
            target = str(child.attrGet("href") or "")
            if child.type == "link_open" and not target.startswith(("http://", "https://")):
                yield target


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text())
    texts = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    return {_HEADING_NOISE.sub("", text.lower()).replace(" ", "-") for text in texts}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
