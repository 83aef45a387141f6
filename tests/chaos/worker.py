"""``barnabas`` with the mechanisms named in ``BARNABAS_TEST_OFF`` taken away: what the suite has to notice."""

from __future__ import annotations

import os

from barnabas.cli import main
from tests.support.faults import switch_off

if __name__ == "__main__":
    switch_off(os.environ.pop("BARNABAS_TEST_OFF", ""))
    main()
