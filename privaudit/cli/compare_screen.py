"""Two results side by side: new, gone and unchanged leaks a finding, the matched test, and what it comes to last."""

from collections.abc import Sequence

from privaudit.cli.screen import Screen
from privaudit.cli.signs import plain
from privaudit.cli.summary import NAMES
from privaudit.gate_decision import Comparison

_IDS_SHOWN = 4
_ID_LENGTH = 80


def compare_screen(comparisons: Sequence[Comparison], n_shared: int, code: int, verbosity: int = 0) -> None:
    """Print it; on a terminal long lists of ids are shortened unless `verbosity` is above 0."""
    screen = Screen()
    is_short = screen.is_interactive and verbosity == 0
    if not n_shared:
        _unmatched(screen, comparisons, code)
        return
    rows = [
        (
            screen.sign("found" if found.new else "not_found", NAMES[found.finding]),
            str(len(found.new)),
            str(len(found.gone)),
            str(len(found.unchanged)),
            "–" if found.p_value is None else f"p = {found.p_value:.2g}",
        )
        for found in comparisons
    ]
    screen.table(("finding", "new", "gone", "unchanged", "matched test"), rows, right=("new", "gone", "unchanged"))
    screen.line(f"exact McNemar test on {n_shared} shared records; a small p: not by chance", "dim")
    screen.gap()
    for kind in ("new", "gone", "unchanged"):
        ids = {found.finding: getattr(found, kind) for found in comparisons}
        listed = [f"{NAMES[name]}: {_listed(some, is_short)}" for name, some in ids.items() if some]
        screen.fact(kind, listed)
    screen.gap()
    told = " and ".join(f"{len(found.new)} {NAMES[found.finding]}" for found in comparisons if found.new)
    if told:
        if not code:
            screen.line("with --fail-on-new the exit code would be 1", "dim")
        screen.signed("found", f"compare: new leaks, {told}, exit {code}")
    else:
        screen.signed("not_found", f"compare: no new leaks, exit {code}")


def _unmatched(screen: Screen, comparisons: Sequence[Comparison], code: int) -> None:
    """Counts alone: without common ids new and gone mean nothing."""
    rows = [(NAMES[found.finding], str(len(found.gone)), str(len(found.new))) for found in comparisons]
    screen.table(("finding", "before", "now"), rows, right=("before", "now"))
    screen.line("no records in common, so no test and no list", "dim")
    screen.fact("next", ["set PRIVAUDIT_SALT to one value for both scans, or --reveal"])
    screen.signed("inconclusive", f"compare: no id is in both results, exit {code}")


def _listed(ids: Sequence[str], is_short: bool) -> str:
    shown = ids[:_IDS_SHOWN] if is_short else ids
    more = f" and {len(ids) - len(shown)} more (--verbose)" if len(ids) > len(shown) else ""
    return ", ".join(plain(identifier, _ID_LENGTH) for identifier in shown) + more
