"""Questions of tests to a service that runs in their own process."""

from __future__ import annotations

from typing import Any

from docutalk_common.messaging.requests import RequestClient


class PatientClient(RequestClient):
    """Waits longer than services wait for each other: who asks and who answers share one thread with everything else here."""

    async def ask(self, *question: Any, timeout: float = 20.0, **about: Any) -> Any:
        """As `RequestClient.ask`."""
        return await super().ask(*question, timeout=timeout, **about)
