"""Lets the tests of this folder import `result_builder` from the one above, whichever way pytest is started."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
