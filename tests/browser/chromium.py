"""The browser of the console's tests: found, or installed where that can be done (``make browser``)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

#: Names a path where the browser is none of the usual ones.
VARIABLE = "BARNABAS_CHROMIUM"

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

#: With fonts: without any, a page is drawn without its text.
_PACKAGES = ("chromium", "fonts-liberation", "fonts-dejavu-core")

MISSING = (
    f"the console's tests need Chromium: apt-get install -y {' '.join(_PACKAGES)}, or `make browser` as root; "
    f"or name one in {VARIABLE}"
)


def find() -> str | None:
    """Return the browser's path; None where there is none."""
    named = os.environ.get(VARIABLE)
    return named or next(filter(None, map(shutil.which, _NAMES)), None)


def install() -> None:
    """Install it with apt-get; raises CalledProcessError."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *_PACKAGES]):
        subprocess.run(
            ["apt-get", *arguments], env=env, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )


def main() -> int:
    """Say where it is; install it first where it is missing."""
    if find() is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            sys.stderr.write(f"error: {MISSING}\n")
            return 1
        sys.stdout.write("installing Chromium (once)\n")
        sys.stdout.flush()
        install()
    sys.stdout.write(f"Chromium is {find()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
