"""``python -m barnabas``."""

from barnabas.cli import main

if __name__ == "__main__":
    main()
