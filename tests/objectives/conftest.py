"""Lets the tests of this folder import `attack_problems` from the one above, whichever way pytest is started."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
