"""When a source is to run next."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterError
from docutalk_common.contracts.ingest import Schedule
from docutalk_common.errors import RequestFailed

MIN_INTERVAL_SECONDS = 60
MAX_INTERVAL_SECONDS = 366 * 86400
MAX_CRON = 500

_NAMES = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)"
# The library also takes random and hashed fields, which would be another time at each look. One digit at a time: runs of them
# could be divided in so many ways that a long number took for ever.
_FIELD = re.compile(rf"(?:\d|\*|{_NAMES}|[-,/?#]|\bl\b)+", re.IGNORECASE)


def check_schedule(schedule: Schedule, *, min_interval: int = MIN_INTERVAL_SECONDS) -> None:
    """Raises `RequestFailed("invalid")` with a sentence for a schedule that can never be kept."""
    if (schedule.cron is None) == (schedule.every_seconds is None):
        raise RequestFailed("invalid", "A schedule has either `cron` or `every_seconds`.")
    if schedule.every_seconds is not None and not min_interval <= schedule.every_seconds <= MAX_INTERVAL_SECONDS:
        raise RequestFailed("invalid", f"`every_seconds` is between {min_interval} and {MAX_INTERVAL_SECONDS:,} (366 days).")
    try:
        ZoneInfo(schedule.timezone)
    except (LookupError, ValueError, OSError):
        raise RequestFailed(
            "invalid", f"There is no time zone {schedule.timezone[:100]!r}; give one such as Europe/Berlin."
        ) from None
    if schedule.cron is not None:
        if len(schedule.cron) > MAX_CRON:
            raise RequestFailed("invalid", f"A cron expression has at most {MAX_CRON} characters.")
        fields = schedule.cron.split()
        if len(fields) != 5 or not all(_FIELD.fullmatch(field) for field in fields) or not croniter.is_valid(schedule.cron):
            raise RequestFailed(
                "invalid",
                f"{schedule.cron!r} is not a cron expression of five fields: minute, hour, day of month, month, day of week.",
            )
        try:
            next_time(schedule, datetime.now(UTC))
        except CroniterError:
            raise RequestFailed("invalid", f"The cron expression {schedule.cron!r} names a day that never comes.") from None


def next_time(schedule: Schedule, after: datetime, last: datetime | None = None) -> datetime:
    """The first time after `after`, in UTC and whole seconds. An interval counts from `last`, so that it does not drift.

    Where a clock is put back, a time of day that comes twice is kept twice; where it is put forward, one that does not come is
    kept at the change.
    """
    if schedule.cron is not None:
        zone = ZoneInfo(schedule.timezone)
        found: datetime = croniter(schedule.cron, after.astimezone(zone)).get_next(datetime)
        return found.astimezone(UTC)
    every = timedelta(seconds=schedule.every_seconds or MAX_INTERVAL_SECONDS)
    start = last if last is not None and last <= after else after
    found = start + ((after - start) // every + 1) * every
    return found.astimezone(UTC) if not found.microsecond else found.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
