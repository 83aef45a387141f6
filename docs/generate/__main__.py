"""Write every page of the reference."""

import sys
from pathlib import Path

from docs.generate.pages import PAGES

_FOLDER = Path(__file__).resolve().parents[1] / "reference"


def main() -> None:
    """Write the pages where they have changed."""
    for name, make in PAGES.items():
        path, text = _FOLDER / name, make()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}\n")


if __name__ == "__main__":
    main()
