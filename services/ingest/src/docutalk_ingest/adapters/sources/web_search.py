"""What a search of the web finds, each page a document."""

from __future__ import annotations

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from docutalk_ingest.adapters.fetcher import Fetcher, FetchFailed
from docutalk_ingest.adapters.sources.item import Item, Listing, ListingFailed, Reach, SearchHit, SourceConfig, Validators
from docutalk_ingest.adapters.sources.urls import page


class WebSearch(SourceConfig):
    """`{query, max_results}`."""

    query: str = Field(min_length=1, max_length=500, pattern=r"\S")
    max_results: int = Field(default=10, ge=1, le=100)

    async def items(self, reach: Reach, validators: Validators) -> Listing:
        if reach.search is None:
            raise ListingFailed(
                "search_not_configured",
                "No search provider is set up. Set DOCUTALK_SEARCH_URL to a SearXNG server that answers in JSON"
                " (and DOCUTALK_SEARCH_API_KEY if it wants one).",
            )
        items: dict[str, Item] = {}
        for hit in await reach.search.search(self.query, self.max_results):
            try:
                item = page(hit.url, hit.title)
            except FetchFailed:
                continue
            items.setdefault(item.key, item)
        return Listing(list(items.values())[: self.max_results])


class _Hit(BaseModel):
    model_config = ConfigDict(extra="ignore")
    url: str
    title: str | None = None


class _Hits(BaseModel):
    model_config = ConfigDict(extra="ignore")
    results: list[_Hit]


class SearxngSearch:
    """A server that answers `GET /search?q=…&format=json` as SearXNG does. The operator names it, so it may stand inside."""

    def __init__(self, url: str, api_key: str | None, fetcher: Fetcher) -> None:
        """`fetcher` may reach the operator's own network, and asks no robots.txt."""
        address = httpx.URL(url)
        path = address.path.rstrip("/")
        self._address = address.copy_with(path=path if path.endswith("/search") else f"{path}/search")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._fetcher = fetcher

    async def search(self, query: str, max_results: int) -> list[SearchHit]:
        """The best first. Asks for further pages until there are enough, or no more."""
        hits: dict[str, SearchHit] = {}
        for number in range(1, 6):
            address = self._address.copy_merge_params({"q": query, "format": "json", "pageno": str(number)})
            try:
                fetched = await self._fetcher.fetch(str(address), headers=self._headers)
                found = _Hits.model_validate_json(fetched.body).results
            except FetchFailed as failure:
                raise ListingFailed("search_failed", f"The search provider did not answer: {failure}") from failure
            except ValidationError as error:
                raise ListingFailed(
                    "search_failed",
                    "The search provider's answer is not the JSON of a SearXNG server; is its JSON format enabled?",
                ) from error
            fresh = [hit for hit in found if hit.url not in hits]
            hits.update({hit.url: SearchHit(hit.url, hit.title or "") for hit in fresh})
            if not fresh or len(hits) >= max_results:
                break
        return list(hits.values())[:max_results]
