"""Every query about imports: archives that wait, the one that this gateway works on, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters.models import Erasure, Import, Upload, Workspace
from docutalk_gateway.adapters.row_counts import changed
from docutalk_gateway.domain import ImportStatus

_OPEN = Import.status.in_([status.value for status in ImportStatus if not status.is_final])


async def add_import(session: AsyncSession, added: Import) -> None:
    """Stores one that waits, with what the database fills in."""
    session.add(added)
    await session.flush()
    await session.refresh(added)


async def count_open(session: AsyncSession, user_id: UUID) -> int:
    """How many of this person's imports have not come to an end. Whoever adds one at the same moment waits."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(str(user_id), 9))))
    return await session.scalar(select(func.count()).select_from(Import).where(Import.user_id == user_id, _OPEN)) or 0


async def import_of(session: AsyncSession, user_id: UUID, import_id: UUID) -> Import | None:
    """One of this person's imports."""
    return cast("Import | None", await session.scalar(select(Import).where(Import.id == import_id, Import.user_id == user_id)))


async def imports_of(session: AsyncSession, user_id: UUID, *, offset: int, limit: int) -> tuple[list[Import], int]:
    """A page of this person's imports, newest first, and how many there are."""
    mine = Import.user_id == user_id
    rows = await session.scalars(select(Import).where(mine).order_by(Import.id.desc()).offset(offset).limit(limit))
    total = await session.scalar(select(func.count()).select_from(Import).where(mine))
    return list(rows), total or 0


# Working on one --------------------------------------------------------------------------------------------------


async def claim_import(session: AsyncSession, holder: UUID, lease: timedelta) -> Import | None:
    """Takes the oldest one that nobody works on, for so long; None when there is none."""
    free = or_(Import.held_until.is_(None), Import.held_until < func.now())
    oldest = select(Import.id).where(_OPEN, free).order_by(Import.id).limit(1).with_for_update(skip_locked=True)
    return cast(
        "Import | None",
        await session.scalar(
            update(Import)
            .where(Import.id == oldest.scalar_subquery())
            .values(held_by=holder, held_until=func.now() + lease, attempts=Import.attempts + 1)
            .returning(Import)
        ),
    )


async def change_held(session: AsyncSession, import_id: UUID, holder: UUID, **values: Any) -> bool:
    """Changes an import. False when it is another gateway's by now, or gone."""
    held = update(Import).where(Import.id == import_id, Import.held_by == holder, _OPEN).values(**values)
    return changed(await session.execute(held.execution_options(synchronize_session=False))) == 1


async def hold_longer(session: AsyncSession, import_id: UUID, holder: UUID, lease: timedelta, *, steps_done: int) -> bool:
    """Says that it is being worked on, and how far that is, which never goes back. False as above."""
    furthest = func.greatest(Import.steps_done, steps_done)
    return await change_held(session, import_id, holder, held_until=func.now() + lease, steps_done=furthest)


# The workspace in the making -------------------------------------------------------------------------------------


async def is_workspace_id_taken(session: AsyncSession, workspace_id: UUID) -> bool:
    """By a workspace, or one that was erased."""
    taken = select(Workspace.id).where(Workspace.id == workspace_id)
    erased = select(Erasure.id).where(Erasure.subject_id == workspace_id).limit(1)
    return await session.scalar(taken) is not None or await session.scalar(erased) is not None


async def add_unseen_workspace(session: AsyncSession, workspace: Workspace) -> bool:
    """Stores a workspace without members. False when its id was taken a moment ago."""
    values = {
        name: getattr(workspace, name) for name in ("id", "name", "description", "system_prompt", "created_at", "updated_at")
    }
    return changed(await session.execute(insert(Workspace).values(values).on_conflict_do_nothing())) == 1


async def add_imported_uploads(session: AsyncSession, uploads: Sequence[Upload]) -> None:
    """Lets their bytes be known again. Of several documents with the same bytes it is the first; what is there stays."""
    columns = (
        *("document_id", "version", "workspace_id", "uploaded_by", "filename", "content_type", "size", "sha256", "object_key"),
        *("created_at", "seen_at"),
    )
    rows = [{name: getattr(upload, name) for name in columns} for upload in uploads]
    if rows:
        await session.execute(insert(Upload).on_conflict_do_nothing(), rows)


async def workspace_made_by(session: AsyncSession, import_id: UUID) -> UUID | None:
    """The workspace of an import that is not done; None when it has made none."""
    made = select(Import.workspace_id).where(Import.id == import_id, Import.status == ImportStatus.IMPORTING.value)
    return cast("UUID | None", await session.scalar(made))


async def workspaces_in_the_making(session: AsyncSession, user_id: UUID) -> list[UUID]:
    """Those of this person's imports that are not done: nobody is a member of them."""
    rows = await session.scalars(
        select(Workspace.id)
        .join(Import, Import.workspace_id == Workspace.id)
        .where(Import.user_id == user_id, Import.status == ImportStatus.IMPORTING.value)
    )
    return list(rows)


# Afterwards ------------------------------------------------------------------------------------------------------


async def delete_old_imports(session: AsyncSession, before: datetime) -> int:
    """Forgets imports that came to their end before `before`."""
    return changed(await session.execute(delete(Import).where(Import.finished_at < before)))


async def known_archives(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Those of the keys whose import has not come to its end."""
    return set(await session.scalars(select(Import.object_key).where(Import.object_key.in_(keys), _OPEN)))
