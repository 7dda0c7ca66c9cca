"""How long the commands that need no torch take to start: medians over processes, in seconds.

    python benchmarks/start_time.py [RESULT.json]

Without a result only `--help` is timed. The goal is 0.3 s; a loaded machine adds to every number, so the time of a bare
interpreter is printed first.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

REPEATS = 7
COMMANDS = ("gate", "verify", "compare", "report")


def median_s(*arguments: str) -> float:
    """Seconds from start to exit of a fresh interpreter, the first one not counted."""
    times = []
    for _ in range(REPEATS + 1):
        begun = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=False, timeout=60)
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


def main() -> None:
    """Print a table."""
    result = [str(Path(path)) for path in sys.argv[1:2]]
    rows = [("(bare interpreter)", ("-c", "pass"))]
    rows += [(f"{name} --help", ("-m", "privaudit", name, "--help")) for name in COMMANDS]
    if result:
        rows += [
            ("gate RESULT", ("-m", "privaudit", "gate", *result)),
            ("verify RESULT", ("-m", "privaudit", "verify", *result)),
            ("compare RESULT RESULT", ("-m", "privaudit", "compare", *result, *result)),
        ]
    print("| command | median seconds |\n|---|---|")
    for name, arguments in rows:
        print(f"| `{name}` | {median_s(*arguments):.2f} |")


if __name__ == "__main__":
    main()
