"""Dates as documents write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_ISO = re.compile(r"\s*(\d{4}(?:-\d{2}(?:-\d{2})?)?)(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\s*(Z|[+-]\d{2}:?\d{2})?)?")


def parse_date(text: str | None) -> datetime | None:
    """A moment from ISO 8601, also of a year or a month only, or from a mail's form; UTC where none is said."""
    if not text:
        return None
    found = _ISO.match(text)
    try:
        if not found:
            return _aware(parsedate_to_datetime(text))
        day = f"{found[1]}-01-01"[:10]
        zone = (found[3] or "Z").replace("Z", "+00:00")
        return _aware(datetime.fromisoformat(f"{day}T{found[2] or '00:00'}{zone}"))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _aware(moment: datetime) -> datetime:
    """In UTC: PostgreSQL takes no offset of a day, and no year before 1."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
