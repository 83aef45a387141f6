"""What the model says in the console's tests: scripted, so that each page can be compared with it."""

from __future__ import annotations

import json
from typing import Any, Final

#: Then it says nothing for ever: what a page shows of it does not depend on when one looks.
WORDS: Final = " ".join(f"word{number}" for number in range(24))

#: Said before a gate that the test opens, and behind it.
FIRST_HALF: Final = " ".join(f"one{number}" for number in range(12))
SECOND_HALF: Final = " ".join(f"two{number}" for number in range(12))

MARKDOWN: Final = """\
A *log* keeps **every** decision. What is derived from it can be made again:

1. the memory of a session,
2. the stream that you are reading.

| part | kept |
|---|--:|
| events | for ever |
| tokens | a day |

```python
session = evolve(session, event)  # pure: <b>no</b> effects
```

More in [the paper](https://example.com/log?a=1&b=2)."""

STOCK: Final = "There are **42 pieces** of article `7-113` in stock. Shall I put some aside?"

#: Ways to make a page do something, as a model may have been talked into writing them.
HOSTILE: Final = """\
<script>window.hacked = "script"</script>
<img src=x onerror="window.hacked = 'img'"> inline <svg onload="window.hacked='svg'"></svg>

<iframe srcdoc="<script>parent.hacked='frame'</script>"></iframe>

<style>body { display: none }</style> <form action="https://evil.example/"><input name=a></form>

[one](javascript:window.hacked='link') [two](JaVaScRiPt&colon;window.hacked='entity') <javascript:window.hacked=1>
[three](data:text/html,<script>window.hacked='data'</script>) [four](vbscript:x) [five](//evil.example/x)
[six]( https://safe.example/ "a" onmouseover="window.hacked='attr')

![pixel](https://evil.example/pixel.png) ![pixel](/sessions "x")

| <img src=x onerror=window.hacked='cell'> | b |
|---|---|
| <details open ontoggle=window.hacked='toggle'> | [x](javascript:window.hacked='table') |

> - <a href="javascript:window.hacked='nested'">nested</a> <math><mtext></math><img src=x onerror=window.hacked='m'>

```"><img src=x onerror=window.hacked='fence'>
</code></pre><img src=x onerror=window.hacked='code'>
```

- ```evil" onmouseover=window.hacked='language'
  x
  ```

<noscript><p title="</noscript><img src=x onerror=window.hacked='mutation'>">"""

#: More than the Markdown library can take by itself: it ends with a full stack.
DEEP: Final = ">" * 5000 + " deep"

#: Each step is more of the same answer; each time something that seemed to be over goes on, or becomes another thing.
GROWING: Final = (
    "1. first\n\n2",
    ". second\n\n   still the second\n\n- a bullet\n",
    "  - within it [later]\n\n```python\nx = 1\n\n",
    "y = 2\n```\n\n| a | b |\n|---|---|\n| c | d |\n",
    "| e | f |\n\nHeading\n-",
    "--\n\n> said\n",
    "> on\n\n<b>no</b> *em",
    "phasis*\n\n[later]: https://example.com/later\n",
    "\nthe end",
)

_HANGING: Final = {"reply": WORDS, "between_delay_s": 0.01, "hang_after": 24}


def _held(gate: str) -> dict[str, Any]:
    return {
        "before_tools": FIRST_HALF,
        "tools": [[{"name": "gate", "arguments": {"name": gate}}]],
        "reply": SECOND_HALF,
        "hang_after": 12,
    }


SCRIPT: Final[dict[str, Any]] = {
    "replies": {
        "What is a log?": {"reply": MARKDOWN, "between_delay_s": 0.004},
        "How many*": {
            "before_tools": "Let me look that up.\n\n",
            "tools": [[{"name": "stock", "arguments": {"article": "7-113"}}]],
            "reply": STOCK,
            "between_delay_s": 0.01,
        },
        "attack": {
            "before_tools": HOSTILE + "\n\n",
            "tools": [[{"name": "stock", "arguments": {"article": "<img src=x onerror=window.hacked='tool'>"}}]],
            "reply": HOSTILE,
        },
        "deep": {"reply": DEEP},
        "hang*": _HANGING,
        "held while the page is reloaded": _held("reload"),
        "held while the gateway is killed": _held("kill"),
        "fail*": {"error": {"kind": "refused", "message": "the model <b>refuses</b>"}},
    },
    "default": {"reply": "You said: {user}"},
}

#: Tools as a user writes them.
SHOP: Final = '''\
import asyncio
from pathlib import Path

import barnabas


@barnabas.tool(timeout_s=5)
async def stock(article: str) -> dict[str, str]:
    """How many pieces of an article are in stock."""
    return {"article": article, "pieces": "42"}


@barnabas.tool(timeout_s=60)
async def gate(name: str) -> str:
    """Wait until it is opened."""
    while not Path(f"{name}.open").exists():
        await asyncio.sleep(0.02)
    return "open"
'''

SETTINGS: Final = (
    'agents:\n  assistant:\n    tools: ["shop:stock", "shop:gate"]\n  clerk: {}\ndefault_agent: assistant\n'
)


def script_json() -> str:
    """Return the script as the worker reads it."""
    return json.dumps(SCRIPT)
