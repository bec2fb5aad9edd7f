"""Sources: where documents come from beside uploads, and what each collection brought."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from docutalk_common.contracts import ingest
from docutalk_common.contracts.envelope import Contract, uuid7
from fastapi import APIRouter, Query, Response

from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Access, Member, Page
from docutalk_gateway.api.idempotency import HEADER_PARAMETER, IdempotentRoute

router = APIRouter(tags=["sources"], route_class=IdempotentRoute)

_ONE = "/workspaces/{workspace_id}/sources/{source_id}"
_KEY: dict[str, Any] = {"parameters": [HEADER_PARAMETER]}
_CHANGEABLE: tuple[Literal["name", "config", "schedule", "paused"], ...] = ("name", "config", "schedule", "paused")
# With its documents, a source may take a while to go.
DELETES_WITHIN_SECONDS = 20.0


async def _source(access: Access, verb: str, question: Contract) -> shapes.Source:
    subject = f"rpc.ingest.v1.source.{verb}"
    return shapes.Source.of(await access.gateway.broker.requests.ask(subject, question, ingest.Source, cause=access.cause))


@router.get("/workspaces/{workspace_id}/sources")
async def list_sources(access: Member, page: Page) -> shapes.Listing[shapes.Source]:
    """The sources of a workspace, newest first."""
    question = ingest.ListSources(workspace_id=access.workspace_id, page=page.page, per_page=page.per_page)
    found = await access.gateway.broker.requests.ask("rpc.ingest.v1.source.list", question, ingest.SourceList, cause=access.cause)
    items = [shapes.Source.of(source) for source in found.items]
    return shapes.Listing(items=items, total=found.total, page=page.page, per_page=page.per_page)


@router.post("/workspaces/{workspace_id}/sources", status_code=201, openapi_extra=_KEY)
async def add_source(access: Member, body: shapes.NewSource, response: Response) -> shapes.Source:
    """Adds a source. It is collected at once, and then by its schedule, if it has one."""
    question = ingest.CreateSource(
        workspace_id=access.workspace_id,
        source_id=uuid7(),
        kind=body.kind,
        name=body.name,
        config=body.config,
        schedule=_schedule(body.schedule),
        created_by=access.user_id,
    )
    source = await _source(access, "create", question)
    response.headers["Location"] = f"/api/v1/workspaces/{access.workspace_id}/sources/{source.id}"
    return source


@router.get(_ONE)
async def get_source(access: Member, source_id: UUID) -> shapes.Source:
    """One source with its last run."""
    return await _source(access, "get", ingest.GetSource(workspace_id=access.workspace_id, source_id=source_id))


@router.patch(_ONE)
async def patch_source(access: Member, source_id: UUID, body: shapes.SourceChanges) -> shapes.Source:
    """Changes its name, settings or schedule, or whether it pauses."""
    given = body.model_fields_set
    question = ingest.ChangeSource(
        workspace_id=access.workspace_id,
        source_id=source_id,
        fields=[name for name in _CHANGEABLE if name in given],
        name=body.name if "name" in given else None,
        config=body.config if "config" in given else None,
        schedule=_schedule(body.schedule),
        paused=body.paused if "paused" in given else None,
        changed_by=access.user_id,
    )
    return await _source(access, "change", question)


@router.delete(_ONE, status_code=204, response_class=Response)
async def delete_source(
    access: Member, source_id: UUID, with_documents: Annotated[bool, Query(description="Delete what it brought, too")] = False
) -> None:
    """Deletes a source. Its documents stay, unless `with_documents`."""
    question = ingest.DeleteSource(
        workspace_id=access.workspace_id, source_id=source_id, with_documents=with_documents, deleted_by=access.user_id
    )
    await access.gateway.broker.requests.ask(
        "rpc.ingest.v1.source.delete", question, ingest.SourceRemoved, cause=access.cause, timeout=DELETES_WITHIN_SECONDS
    )


@router.post(f"{_ONE}/run", status_code=202, openapi_extra=_KEY)
async def run_source(access: Member, source_id: UUID) -> shapes.SourceRun:
    """Collects a source now. `409` while a run of it is going on."""
    question = ingest.RunSource(workspace_id=access.workspace_id, source_id=source_id, started_by=access.user_id)
    run = await access.gateway.broker.requests.ask("rpc.ingest.v1.source.run", question, ingest.SourceRun, cause=access.cause)
    return shapes.SourceRun.of(run)


@router.post(f"{_ONE}/pause")
async def pause_source(access: Member, source_id: UUID) -> shapes.Source:
    """Stops collecting a source by its schedule; it can still be run by hand."""
    return await _paused(access, source_id, paused=True)


@router.post(f"{_ONE}/resume")
async def resume_source(access: Member, source_id: UUID) -> shapes.Source:
    """Collects a source by its schedule again."""
    return await _paused(access, source_id, paused=False)


async def _paused(access: Access, source_id: UUID, *, paused: bool) -> shapes.Source:
    question = ingest.ChangeSource(
        workspace_id=access.workspace_id, source_id=source_id, fields=["paused"], paused=paused, changed_by=access.user_id
    )
    return await _source(access, "change", question)


@router.get(f"{_ONE}/runs")
async def list_runs(access: Member, source_id: UUID, page: Page) -> shapes.Listing[shapes.SourceRun]:
    """The runs of a source, newest first."""
    question = ingest.ListRuns(workspace_id=access.workspace_id, source_id=source_id, page=page.page, per_page=page.per_page)
    found = await access.gateway.broker.requests.ask("rpc.ingest.v1.source.runs", question, ingest.RunList, cause=access.cause)
    items = [shapes.SourceRun.of(run) for run in found.items]
    return shapes.Listing(items=items, total=found.total, page=page.page, per_page=page.per_page)


def _schedule(given: shapes.Schedule | None) -> ingest.Schedule | None:
    return ingest.Schedule.model_validate(given.model_dump()) if given else None
