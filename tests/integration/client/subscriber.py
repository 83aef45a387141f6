"""A subscriber as a process: ``python -m tests.integration.client.subscriber SERVERS PREFIX FOLDER SESSION [CURSOR]``.

Prints each part as a line of JSON, at once. An optional CURSOR is where it goes on.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from barnabas import Client
from tests.support.faults import switch_off


async def main() -> None:
    """Print until killed."""
    servers, prefix, folder, session, *after = sys.argv[1:]
    async with (
        asyncio.timeout(280),  # a test that fails leaves nothing behind
        Client(bootstrap_servers=servers, prefix=prefix, data_dir=Path(folder)) as client,
        client.stream(session, after=after[0] if after else None) as parts,
    ):
        sys.stdout.write(json.dumps({"event": "ready"}) + "\n")
        sys.stdout.flush()
        async for part in parts:
            line = {"kind": part.kind, "text": part.text, "cursor": str(part.cursor), "offset": part.cursor.offset}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    switch_off(os.environ.pop("BARNABAS_TEST_OFF", ""))
    asyncio.run(main())
