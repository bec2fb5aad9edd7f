"""Workspaces and users that are gone: what comes late about them adds nothing, and no name.

Whoever adds something says first, in the same transaction, into which workspace and in whose name, and shares a lock on both
until that ends. Whoever erases takes the lock alone to leave the tombstone: what was added before it is there to be found then,
and afterwards nothing is added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID, uuid5

from docutalk_common.errors import NotFound
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_ingest.adapters.tables import erased_users, erased_workspaces

NOBODY = UUID(int=0)
"""In the place of a user who is gone."""

_USERS = UUID("0d0c9f6e-5b7c-5d0b-a3a1-7f7a6a1de0c4")
_LOCK_BITS = (1 << 63) - 1

# In the order of the keys: two who share several of them do not wait for each other across two who want one alone.
_SHARE = text("SELECT pg_advisory_xact_lock_shared(key) FROM unnest(CAST(:keys AS bigint[])) AS key")
_GONE = text(
    """
    SELECT workspace_id FROM erased_workspaces WHERE workspace_id = ANY(CAST(:workspaces AS uuid[]))
    UNION ALL SELECT user_key FROM erased_users WHERE user_key = ANY(CAST(:users AS uuid[]))
    """
)


class WorkspaceErased(NotFound):
    """Nothing can be added to these workspaces any more."""

    def __init__(self, workspace_ids: Collection[UUID]) -> None:
        super().__init__("The workspace was deleted.")
        self.workspace_ids = frozenset(workspace_ids)


async def admit(session: AsyncSession, workspace_ids: Iterable[UUID], user_ids: Iterable[UUID]) -> set[UUID]:
    """To be called before anything is added to these workspaces in the name of these users; neither are erased before this
    transaction ends. Returns those of the users who are gone. Raises `WorkspaceErased`."""
    workspaces, users = set(workspace_ids), {user_key(user_id): user_id for user_id in user_ids}
    await session.execute(_SHARE, {"keys": sorted({_lock_key(id_) for id_ in (*workspaces, *users)})})
    # Another statement, as it must see what was committed while the first one waited.
    gone = set(await session.scalars(_GONE, {"workspaces": list(workspaces), "users": list(users)}))
    if erased := gone & workspaces:
        raise WorkspaceErased(erased)
    return {users[key] for key in gone}


async def bury_workspace(session: AsyncSession, workspace_id: UUID) -> None:
    """Leaves the tombstone, once nobody is adding anything. In a transaction of its own, for whoever adds waits for it."""
    await _alone(session, workspace_id)
    await session.execute(insert(erased_workspaces).values(workspace_id=workspace_id, removed={}).on_conflict_do_nothing())


async def bury_user(session: AsyncSession, user_id: UUID) -> None:
    """As `bury_workspace`."""
    key = user_key(user_id)
    await _alone(session, key)
    await session.execute(insert(erased_users).values(user_key=key).on_conflict_do_nothing())


async def note_user_erased(session: AsyncSession, user_id: UUID) -> bool:
    """Whether it is this transaction that says so: it was not said before."""
    statement = update(erased_users).where(erased_users.c.user_key == user_key(user_id), erased_users.c.erased_at.is_(None))
    return await session.scalar(statement.values(erased_at=func.now()).returning(erased_users.c.user_key)) is not None


def user_key(user_id: UUID) -> UUID:
    """By what a user who is gone is known again, without being named."""
    return uuid5(_USERS, str(user_id))


async def _alone(session: AsyncSession, id_: UUID) -> None:
    await session.execute(select(func.pg_advisory_xact_lock(_lock_key(id_))))


def _lock_key(id_: UUID) -> int:
    return id_.int & _LOCK_BITS
