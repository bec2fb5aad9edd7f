"""`python -m docutalk_chat`: settings from the environment, until a signal comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from docutalk_common.process import Runtime, run_service

from docutalk_chat.app import chat
from docutalk_chat.settings import Settings


def main() -> None:
    """Runs the service."""
    settings = Settings()  # type: ignore[call-arg]  # the environment has them

    @contextlib.asynccontextmanager
    async def build(runtime: Runtime) -> AsyncIterator[None]:
        async with chat(settings, on_fatal=runtime.fail):
            yield

    run_service("chat", settings, build)


if __name__ == "__main__":
    main()
