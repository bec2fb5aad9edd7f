"""Looks at single pages: fetches the file they are in and asks the parser."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from docutalk_common.contracts.ingest import Boxes, RenderedPage
from docutalk_common.errors import RequestFailed
from docutalk_common.storage import ObjectStorage

from docutalk_ingest.adapters.file_cache import FileCache
from docutalk_ingest.adapters.isolated_parser import RENDERED, IsolatedParser
from docutalk_ingest.adapters.page_repository import StoredPage
from docutalk_ingest.adapters.work_folder import WorkFolder
from docutalk_ingest.domain import ParseFailed

AT_ONCE = 2
"""Each takes a process, and reading documents goes on meanwhile."""
FILES_AT_ONCE = 6
"""Being fetched or waiting for their turn: of those none can go, however many bytes they have."""


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


class PageViewer:
    """Raises `RequestFailed` (`no_boxes`, `no_image`) with the parser's reason when a page cannot be looked at."""

    def __init__(self, storage: ObjectStorage, parser: IsolatedParser, work_folder: WorkFolder, *, cache_bytes: int) -> None:
        self._storage = storage
        self._parser = parser
        self._work_folder = work_folder
        self._files = FileCache(storage, work_folder, max_bytes=cache_bytes)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._files_in_use = asyncio.Semaphore(FILES_AT_ONCE)

    async def boxes(self, page: StoredPage, start: int, end: int) -> Boxes:
        """Where `text[start:end]` of the page stands on it."""
        async with self._at_hand(page) as (path, out):
            try:
                return await self._parser.boxes(path, page.number, start, end, page.text, out=out, lines=page.lines)
            except ParseFailed as failure:
                raise RequestFailed("no_boxes", failure.reason) from failure

    async def render(self, page: StoredPage, width: int, object_key: str) -> RenderedPage:
        """Makes a picture of the page and stores it under `object_key`."""
        async with self._at_hand(page) as (path, out):
            try:
                picture = await self._parser.render(path, page.number, width, out)
            except ParseFailed as failure:
                raise RequestFailed("no_image", failure.reason) from failure
            data = await asyncio.to_thread(picture.path.read_bytes)
        _, content_type = RENDERED
        await self._storage.upload_stream(object_key, _whole(data), content_type=content_type)
        return RenderedPage(object_key=object_key, content_type=content_type, width=picture.width, height=picture.height)

    @contextlib.asynccontextmanager
    async def _at_hand(self, page: StoredPage) -> AsyncIterator[tuple[Path, Path]]:
        """The page's file and an empty folder, when there is room for another look."""
        file, folder = self._files.file(page.object_key), self._work_folder.of_one_document()
        async with self._files_in_use, file as path, self._turn, folder as out:
            yield path, out

    async def close(self) -> None:
        """Removes the files that were looked at."""
        await self._files.close()
