"""Fixtures for every test: real servers, one set for each session, provisioned as `docutalk up` does it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from docutalk_local.testing import Backend, TestStack, make_backend
from hypothesis import HealthCheck, settings

# How busy the machine is says nothing of an example, and examples share a workspace where its making would take too long.
PERMITTED = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
settings.register_profile("docutalk", deadline=None, suppress_health_check=PERMITTED)
settings.load_profile("docutalk")

LONGEST = ("tests/faults", "tests/local", "tests/e2e", "tests/security")
"""Folders of tests that start whole systems."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several processes are given the longest files first, so that they end at about the same time; one goes by folder."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: next((n for n, folder in enumerate(LONGEST) if item.nodeid.startswith(folder)), len(LONGEST)))


@pytest.fixture(scope="session")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    """PostgreSQL, NATS and S3, running and empty. `DOCUTALK_TEST_BACKEND` chooses `embedded` or `containers`."""
    servers = make_backend(tmp_path_factory.mktemp("servers"))
    try:
        await servers.start()
        yield servers
    finally:
        await servers.stop()


@pytest.fixture(scope="session")
async def stack(backend: Backend) -> TestStack:
    """The same servers with roles, schemas, migrations, streams, durables and the bucket.

    Shared by all tests of a session: take a new workspace id in each test, and start again whatever you stop.
    """
    return await TestStack.provisioned(backend)
