"""Audit a checkpoint from Python and act on the result, as a release script would.

python examples/audit_in_python.py model.safetensors train/ heldout/
"""

import sys
from pathlib import Path

from privaudit.audit import scan
from privaudit.config import ScanSettings
from privaudit.errors import PrivauditError
from privaudit.progress import SilentListener


def main(model: str, reference: str, control: str) -> int:
    """Print what was found; 0 when nothing was, 1 for a leak, 3 when it cannot be said, 2 for a problem."""
    settings = ScanSettings(model=Path(model), reference=reference, control=control, out=Path("audit"), max_leaked=4)
    try:
        outcome = scan(settings, SilentListener(), command=" ".join(sys.argv))
    except PrivauditError as error:
        print(f"could not audit {model}: {error}", file=sys.stderr)
        return 2
    verdict = outcome.result.verdict
    print(verdict.status)
    for finding in verdict.findings:
        print(f"  {finding.name}: {finding.status}, {finding.count} records. {finding.reason}")
    for path in outcome.files:
        print(f"  wrote {path}")
    return {"no_leak_found": 0, "leak_found": 1, "inconclusive": 3}[verdict.status]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
