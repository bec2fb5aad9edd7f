"""Every query about what is erased: what goes at once, who has said that it is gone there, and what is complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast
from uuid import UUID

from docutalk_common.db import outbox
from sqlalchemy import Delete, LargeBinary, Update, and_, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import member_repository
from docutalk_gateway.adapters.models import (
    AuditEntry,
    Erasure,
    ErasureReceipt,
    IdempotencyKey,
    Import,
    Invitation,
    Member,
    PostedMessage,
    RateWindow,
    Share,
    ShareVisit,
    Upload,
    User,
    Workspace,
)
from docutalk_gateway.adapters.row_counts import changed
from docutalk_gateway.domain import Role

OWN = "gateway"
"""In a receipt: what was erased here."""
NOBODY = UUID(int=0)
"""In the place of a user who is gone."""


# Keeping things where they are -----------------------------------------------------------------------------------


async def hold_workspace(session: AsyncSession, workspace_id: UUID, user_id: UUID) -> Workspace | None:
    """The workspace, which is not deleted until the end of the transaction, and neither is the person, or the visit, in whose
    name something is added to it: whoever deletes them finds it. None when one of them is gone."""
    if not await _hold_user(session, user_id):
        return None
    which = select(Workspace).where(Workspace.id == workspace_id).with_for_update(read=True, key_share=True)
    return cast("Workspace | None", await session.scalar(which.execution_options(populate_existing=True)))


async def _hold_user(session: AsyncSession, user_id: UUID) -> bool:
    for table in (User, ShareVisit):
        which = select(table.id).where(table.id == user_id).with_for_update(read=True, key_share=True)
        if await session.scalar(which) is not None:
            return True
    return False


async def lock_erasures(session: AsyncSession) -> None:
    """Until the end of the transaction nobody else deletes a workspace or a user: each locks rows that belong to the other."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("erasures", 8))))


# What goes at once -----------------------------------------------------------------------------------------------


async def _changed(session: AsyncSession, statement: Delete | Update) -> int:
    return changed(await session.execute(statement.execution_options(synchronize_session=False)))


async def remove_workspace(session: AsyncSession, workspace_id: UUID) -> dict[str, int] | None:
    """Removes a workspace with all that is known of it here; how many rows of each kind. None when there is no such workspace.

    `lock_erasures` first. Whoever adds something to it has done so by then, or finds it gone.
    """
    await member_repository.choose_other_default(session, workspace_id)
    held = await session.scalar(select(Workspace.id).where(Workspace.id == workspace_id).with_for_update())
    if held is None:
        return None
    removed = {
        "members": await _changed(session, delete(Member).where(Member.workspace_id == workspace_id)),
        "invitations": await _changed(session, delete(Invitation).where(Invitation.workspace_id == workspace_id)),
        "shares": await _changed(session, delete(Share).where(Share.workspace_id == workspace_id)),
        "uploads": await _changed(session, delete(Upload).where(Upload.workspace_id == workspace_id)),
        "questions": await _changed(session, delete(PostedMessage).where(PostedMessage.workspace_id == workspace_id)),
        "imports": await _changed(session, delete(Import).where(Import.workspace_id == workspace_id)),
        "stored_answers": await _remove_stored_answers(session, workspace_id),
    }
    # What was not published yet would come into the log when it has been purged.
    await session.execute(delete(outbox).where(outbox.c.subject.contains(str(workspace_id))))
    await session.execute(delete(Workspace).where(Workspace.id == workspace_id))
    return removed


async def _remove_stored_answers(session: AsyncSession, subject_id: UUID) -> int:
    """Of requests that were made with a key: a user's own, those to an address with this id, and those whose answer names it,
    such as the one that made it."""
    id_ = str(subject_id)
    in_body = func.position(literal(id_.encode(), LargeBinary).op("IN")(IdempotencyKey.body)) > 0
    which = or_(IdempotencyKey.user_id == subject_id, IdempotencyKey.route.contains(id_), in_body)
    return await _changed(session, delete(IdempotencyKey).where(which))


@dataclass(frozen=True)
class Membership:
    """What somebody is in a workspace, how many members it has, and whether it has another owner who can sign in."""

    workspace_id: UUID
    name: str
    role: Role
    members: int
    has_other_owner: bool


async def lock_memberships(session: AsyncSession, user_id: UUID) -> tuple[User, list[Membership]] | None:
    """An account, and where it is a member, oldest workspace first; until the end of the transaction that stays so. None when
    there is no such account. `lock_erasures` first."""
    user = await session.scalar(select(User).where(User.id == user_id).with_for_update())
    if user is None:
        return None
    ids = list(await session.scalars(select(Member.workspace_id).where(Member.user_id == user_id)))
    found = await session.scalars(select(Workspace).where(Workspace.id.in_(ids)).order_by(Workspace.id).with_for_update())
    return user, [await _membership(session, workspace, user_id) for workspace in list(found)]


async def _membership(session: AsyncSession, workspace: Workspace, user_id: UUID) -> Membership:
    # Read when it is locked: what was read before may be of the moment before somebody else's change.
    rows = await session.execute(select(Member.user_id, Member.role).where(Member.workspace_id == workspace.id))
    roles = {row[0]: Role(row[1]) for row in rows}
    owned = await member_repository.has_other_owner(session, workspace.id, user_id)
    return Membership(workspace.id, workspace.name, roles[user_id], len(roles), owned)


async def archives_of(session: AsyncSession, user_id: UUID) -> list[str]:
    """Where the archives lie that this person sent to be imported."""
    return list(await session.scalars(select(Import.object_key).where(Import.user_id == user_id)))


async def remove_user(session: AsyncSession, user: User) -> dict[str, int]:
    """Removes an account with all that is of it alone, and takes its name off the rest; how many rows of each kind.

    Which questions were asked stays known until they are purged from the log; see `posted_by`. `lock_memberships` first.
    """
    mine = AuditEntry.actor_id == user.id
    about = and_(AuditEntry.target_id == user.id, AuditEntry.actor_id.is_(None))
    accepted = update(Invitation).where(Invitation.accepted_by == user.id).values(accepted_by=NOBODY)
    uploaded = update(Upload).where(Upload.uploaded_by == user.id).values(uploaded_by=NOBODY)
    traced = update(AuditEntry).where(or_(mine, about)).values(address=None, user_agent=None)
    removed = {
        "memberships": await _changed(session, delete(Member).where(Member.user_id == user.id)),
        "shares": await _changed(session, delete(Share).where(Share.created_by == user.id)),
        "imports": await _changed(session, delete(Import).where(Import.user_id == user.id)),
        "invitations": await _changed(
            session, delete(Invitation).where(or_(Invitation.invited_by == user.id, Invitation.email == user.email))
        ),
        "invitations_unnamed": await _changed(session, accepted),
        "uploads_unnamed": await _changed(session, uploaded),
        "audit_entries_untraced": await _changed(session, traced),
        "stored_answers": await _remove_stored_answers(session, user.id),
    }
    await session.execute(delete(RateWindow).where(RateWindow.bucket.contains(str(user.id))))
    # Sign-ins, keys and identities go with it.
    await session.execute(delete(User).where(User.id == user.id))
    return removed


# Receipts --------------------------------------------------------------------------------------------------------


async def add_erasure(session: AsyncSession, erasure: Erasure) -> None:
    """Stores one that begins."""
    session.add(erasure)
    await session.flush()
    await session.refresh(erasure)


async def add_own_receipt(session: AsyncSession, erasure: Erasure, removed: dict[str, int]) -> None:
    """Stores what was removed here."""
    await add_receipt(session, ErasureReceipt(erasure_id=erasure.id, service=OWN, part=1, parts=1, removed=removed))


async def add_receipt(session: AsyncSession, receipt: ErasureReceipt) -> None:
    """Stores what a service says; the same once more changes nothing."""
    statement = insert(ErasureReceipt).values(
        erasure_id=receipt.erasure_id,
        service=receipt.service,
        part=receipt.part,
        parts=receipt.parts,
        removed=receipt.removed,
    )
    await session.execute(statement.on_conflict_do_nothing())


@dataclass(frozen=True)
class ErasureState:
    """An erasure, what each service has removed so far, which ones have not said all, and the erasures that belong to it."""

    erasure: Erasure
    removed: dict[str, dict[str, int]]
    waiting_for: list[str]
    children: list[Erasure] = field(default_factory=list)

    @property
    def can_be_completed(self) -> bool:
        """Whether all have said all, and what belongs to it is complete."""
        return not self.waiting_for and all(child.completed_at is not None for child in self.children)


async def erasure_by_id(session: AsyncSession, erasure_id: UUID) -> Erasure | None:
    """An erasure."""
    return await session.get(Erasure, erasure_id)


async def erasure_state(session: AsyncSession, erasure: Erasure) -> ErasureState:
    """How far it is."""
    receipts = await session.scalars(select(ErasureReceipt).where(ErasureReceipt.erasure_id == erasure.id))
    parts: dict[str, list[ErasureReceipt]] = {}
    for receipt in receipts:
        parts.setdefault(receipt.service, []).append(receipt)
    removed = {service: _sum(parts[service]) for service in sorted(parts)}
    waiting_for = [service for service in erasure.services if not _is_whole(parts.get(service, []))]
    children = await session.scalars(select(Erasure).where(Erasure.parent_id == erasure.id).order_by(Erasure.id))
    return ErasureState(erasure, removed, waiting_for, list(children))


def _sum(receipts: Sequence[ErasureReceipt]) -> dict[str, int]:
    total: dict[str, int] = {}
    for receipt in receipts:
        for kind, count in receipt.removed.items():
            total[kind] = total.get(kind, 0) + count
    return total


def _is_whole(receipts: Sequence[ErasureReceipt]) -> bool:
    return bool(receipts) and len(receipts) >= max(receipt.parts for receipt in receipts)


async def pending_erasures(session: AsyncSession) -> list[ErasureState]:
    """Those that are not complete, what belongs to others first."""
    rows = await session.scalars(
        select(Erasure).where(Erasure.completed_at.is_(None)).order_by(Erasure.parent_id.is_(None), Erasure.id)
    )
    return [await erasure_state(session, erasure) for erasure in list(rows)]


async def posted_by(session: AsyncSession, user_id: UUID, *, limit: int) -> list[PostedMessage]:
    """Questions of a deleted user that have not been forgotten, because their words may be in the log."""
    return list(await session.scalars(select(PostedMessage).where(PostedMessage.user_id == user_id).limit(limit)))


async def forget_posted(session: AsyncSession, answer_ids: Sequence[UUID]) -> None:
    """They are purged from the log. That somebody asked stays: the day's questions of a workspace are counted by these rows."""
    nobodys = {"user_id": NOBODY, "message_id": NOBODY, "session_id": NOBODY, "idempotency_key": None, "fingerprint": b""}
    asked = update(PostedMessage).where(PostedMessage.answer_id.in_(answer_ids))
    await _changed(session, asked.values(answer_id=func.gen_random_uuid(), **nobodys))


async def complete_erasure(session: AsyncSession, erasure: Erasure, now: datetime, *, objects: int) -> bool:
    """Whether it is this transaction that completes it. `objects` that were left are counted to what was removed here."""
    done = update(Erasure).where(Erasure.id == erasure.id, Erasure.completed_at.is_(None)).values(completed_at=now)
    if await _changed(session, done) == 0:
        return False
    if objects:
        own = await session.get(ErasureReceipt, (erasure.id, OWN, 1))
        assert own is not None
        own.removed = {**own.removed, "objects": objects}
    return True
