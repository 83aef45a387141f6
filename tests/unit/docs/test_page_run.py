"""A page that does not do what it says is found."""

from pathlib import Path

import pytest
import yaml

from tests.support.pages.page import read_blocks
from tests.support.pages.page_run import PageRun


def run_page(folder: Path, text: str) -> None:
    """Write a page, read it and run it, with ``HOST`` standing for ``here``."""
    page = folder / "page.md"
    page.write_text(text)
    (folder / "run").mkdir()
    PageRun(folder / "run", {"WHO": "Ada"}, {"HOST": "here"}).run(read_blocks(page, folder))


def test_page_that_does_what_it_says_passes(tmp_path: Path) -> None:
    """Files are written, commands share the folder, what stands for something else is replaced."""
    run_page(
        tmp_path,
        "```python\n# say.py\nprint('HOST', open('who.txt').read())\n```\n"
        "```sh background\necho $$ > pid; echo it is ready; exec sleep 60\n```\n"
        '```sh\necho "$WHO" > who.txt; python say.py\n```\n```console\nHOST Ada\n```\n'
        "```sh fails\nfalse; echo not reached\n```\n"
        '```python\nimport os\nassert os.environ["WHO"] == "Ada"\n```\n'
        "<!-- not run: it takes too long -->\n```sh\nexit 1\n```\n",
    )
    pid = int((tmp_path / "run" / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nfalse\n```\n",
        "```sh\nfalse | true; exit 0\n```\n",
        "```sh fails\ntrue\n```\n",
        "```python\nraise SystemExit(1)\n```\n",
        "```python\n# broken.py\nprint(\n```\n",
        "```yaml\n# broken.yaml\na: [\n```\n",
        "```sh\necho one\n```\n```console\ntwo\n```\n",
        "```console\none\n```\n",
        "```sh background\nexit 1\n```\n",
        "```sh background\necho is ready; exit 1\n```\n```sh\nsleep 0.5\n```\n",
    ],
)
def test_page_that_does_something_else_fails(text: str, tmp_path: Path) -> None:
    """Whatever differs: an exit code, an output, a file that is none."""
    with pytest.raises((AssertionError, SyntaxError, yaml.YAMLError)):
        run_page(tmp_path, text)
