"""Which versions of a document are kept?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import ListVersions, VersionList
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.list_versions import list_versions


def request_version_list(db: Database) -> Callable[[ListVersions, Cause], Awaitable[VersionList]]:
    """The answerer of `rpc.ingest.v1.version.list`."""

    async def answer(request: ListVersions, _cause: Cause) -> VersionList:
        return await list_versions(request, db)

    return answer
