"""`python -m docutalk_ingest`: settings come from the environment."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from docutalk_common.process import Runtime, run_service

from docutalk_ingest.app import ingest
from docutalk_ingest.settings import IngestSettings


def main() -> None:
    """Runs until SIGTERM."""
    settings = IngestSettings()  # type: ignore[call-arg]  # the environment has them

    @contextlib.asynccontextmanager
    async def build(runtime: Runtime) -> AsyncIterator[None]:
        async with ingest(settings, on_fatal=runtime.fail):
            yield

    run_service("ingest", settings, build)


if __name__ == "__main__":
    main()
