"""Today, and whether the clock can be believed. Waivers expire by it, so a clock that was set back is an error."""

from datetime import UTC, date, datetime, timedelta

from privaudit.errors import ResultError
from privaudit.result import AuditResult

FIRST_RELEASE = date(2026, 1, 1)
"""No result is older than the tool's first year, and no gate runs before it."""

_SLACK = timedelta(days=1)
"""By which the clocks of two machines may differ."""


def utc_now() -> datetime:
    """The time in UTC, whatever the time zone of the machine."""
    return datetime.now(UTC)


def started_at(result: AuditResult) -> datetime:
    """When the scan began; taken for UTC where the result names no zone.

    Raises:
        ResultError: no ISO 8601 time.
    """
    try:
        started = datetime.fromisoformat(result.reproduce.started)
    except ValueError:
        raise ResultError(
            f"expected the start of the scan as an ISO 8601 time, found {result.reproduce.started!r}; scan again"
        ) from None
    return started if started.tzinfo is not None else started.replace(tzinfo=UTC)


def require_plausible(now: datetime, result: AuditResult) -> None:
    """Refuse a clock that lies before the scan or before the tool.

    Raises:
        ResultError: it does.
    """
    started = started_at(result)
    release = datetime(FIRST_RELEASE.year, FIRST_RELEASE.month, FIRST_RELEASE.day, tzinfo=UTC)
    # No day is taken from a start before the release: a file may say the year 1, which has none before it.
    earliest = release if started < release + _SLACK else started - _SLACK
    if now < earliest:
        raise ResultError(
            f"expected a clock not before {earliest.date()} (the scan began {started.date()}), found {now.date()}; "
            "set this machine's clock"
        )
