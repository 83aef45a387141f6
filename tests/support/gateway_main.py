"""The command line, without the mechanisms that ``BARNABAS_TEST_OFF`` names; see ``tests/support/faults.py``."""

import os
import sys

from barnabas.cli import main
from tests.support.faults import switch_off

if __name__ == "__main__":
    switch_off(os.environ.pop("BARNABAS_TEST_OFF", ""))
    sys.exit(main())
