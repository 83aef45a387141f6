"""The command line with a patient gateway, without the mechanisms that ``BARNABAS_TEST_OFF`` names.

See ``tests/support/patience.py`` and ``tests/support/faults.py``.
"""

import os
import sys

from barnabas.cli import main
from tests.support.faults import switch_off
from tests.support.patience import be_patient

if __name__ == "__main__":
    be_patient()
    switch_off(os.environ.pop("BARNABAS_TEST_OFF", ""))
    sys.exit(main())
