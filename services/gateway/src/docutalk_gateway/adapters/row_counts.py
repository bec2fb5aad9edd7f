"""How many rows a statement changed."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import CursorResult, Result


def changed(result: Result[Any]) -> int:
    """Of an INSERT, UPDATE or DELETE. Sessions give a `CursorResult` for these, and call it a `Result`."""
    return cast("CursorResult[Any]", result).rowcount
