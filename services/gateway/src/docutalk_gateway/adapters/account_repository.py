"""Every query about accounts, invitations and password resets that is not about signing in alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, delete, exists, func, literal, or_, select, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters.models import Invitation, Member, PasswordReset, User, Workspace
from docutalk_gateway.adapters.row_counts import changed
from docutalk_gateway.domain import Role

# Accounts --------------------------------------------------------------------------------------------------------


async def account_named(session: AsyncSession, email: str) -> tuple[str, User | None]:
    """How PostgreSQL spells this address when it compares it, and the account with it. Python folds letters otherwise: whoever
    counts attempts by its spelling counts one account as many."""
    given = select(func.lower(literal(email, Text)).label("spelt")).subquery()
    row = (await session.execute(select(given.c.spelt, User).outerjoin(User, User.email == email))).one()
    return row[0], row[1]


async def any_account(session: AsyncSession) -> bool:
    """Whether the installation has an account."""
    return bool(await session.scalar(select(exists(select(User.id)))))


async def any_administrator(session: AsyncSession) -> bool:
    """Whether somebody can rule the installation."""
    return bool(await session.scalar(select(exists().where(User.is_admin, User.disabled_at.is_(None)))))


async def lock_first_account(session: AsyncSession) -> None:
    """Until the end of the transaction nobody else becomes the first."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("first_account", 5))))


async def lock_account(session: AsyncSession, user_id: UUID) -> User | None:
    """The account as it is now; nobody else changes it until the end of the transaction."""
    return cast(
        "User | None",
        await session.scalar(
            select(User).where(User.id == user_id).with_for_update(key_share=True).execution_options(populate_existing=True)
        ),
    )


async def set_password(session: AsyncSession, user_id: UUID, password_hash: str) -> None:
    """Also ends the way to set it that an administrator may have opened."""
    await session.execute(update(User).where(User.id == user_id).values(password_hash=password_hash))
    await session.execute(delete(PasswordReset).where(PasswordReset.user_id == user_id))


async def renew_hash(session: AsyncSession, user_id: UUID, password_hash: str) -> None:
    """The same password, hashed with other parameters."""
    await session.execute(update(User).where(User.id == user_id).values(password_hash=password_hash))


async def set_email(session: AsyncSession, user: User, email: str) -> bool:
    """False when the address is another account's, also one that a racing request makes."""
    try:
        async with session.begin_nested():
            user.email, user.email_vouched = email, False
    except IntegrityError:
        return False
    return True


async def accounts(session: AsyncSession, q: str | None, *, offset: int, limit: int) -> tuple[list[User], int]:
    """A page of all accounts, newest first, and how many there are. `q` is a part of the address or the name."""
    which: list[ColumnElement[bool]] = []
    if q:
        which.append(
            or_(sql_cast(User.email, Text).icontains(q, autoescape=True), User.display_name.icontains(q, autoescape=True))
        )
    rows = await session.scalars(select(User).where(*which).order_by(User.id.desc()).offset(offset).limit(limit))
    total = await session.scalar(select(func.count()).select_from(User).where(*which))
    return list(rows), total or 0


async def lock_administrators(session: AsyncSession) -> None:
    """Until the end of the transaction nobody else takes an administrator away."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("administrators", 5))))


async def is_last_administrator(session: AsyncSession, user_id: UUID) -> bool:
    """Whether nobody else could rule the installation. `lock_administrators` first."""
    able = and_(User.is_admin, User.disabled_at.is_(None))
    return set(await session.scalars(select(User.id).where(able).limit(2))) == {user_id}


# Password resets -------------------------------------------------------------------------------------------------


async def put_reset(session: AsyncSession, reset: PasswordReset) -> None:
    """Stores it instead of an earlier one of the same account."""
    statement = insert(PasswordReset).values(user_id=reset.user_id, token_hash=reset.token_hash, expires_at=reset.expires_at)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[PasswordReset.user_id],
            set_={"token_hash": statement.excluded.token_hash, "expires_at": statement.excluded.expires_at},
        )
    )


async def reset_with(session: AsyncSession, token_hash: bytes, now: datetime) -> UUID | None:
    """Whose password this token sets; None when it was used, replaced or has expired."""
    return await session.scalar(
        select(PasswordReset.user_id).where(PasswordReset.token_hash == token_hash, PasswordReset.expires_at > now)
    )


async def take_reset(session: AsyncSession, token_hash: bytes, now: datetime) -> bool:
    """Uses it up. False when somebody else did a moment ago."""
    which = (PasswordReset.token_hash == token_hash, PasswordReset.expires_at > now)
    return changed(await session.execute(delete(PasswordReset).where(*which))) == 1


async def delete_expired_resets(session: AsyncSession, now: datetime) -> int:
    """Forgets those that set nothing any more."""
    return changed(await session.execute(delete(PasswordReset).where(PasswordReset.expires_at < now)))


# Invitations -----------------------------------------------------------------------------------------------------


# By PostgreSQL's clock, as its `created_at` is.
_OPEN = and_(Invitation.accepted_at.is_(None), Invitation.expires_at > func.now())


def _inviter_still_may() -> ColumnElement[bool]:
    """Whoever was an owner would else come back by a link that they made before."""
    owns = exists().where(
        Member.workspace_id == Invitation.workspace_id, Member.user_id == User.id, Member.role == Role.OWNER.value
    )
    return and_(User.disabled_at.is_(None), or_(and_(Invitation.workspace_id.is_(None), User.is_admin), owns))


async def add_invitation(session: AsyncSession, invitation: Invitation) -> None:
    """Stores a new one, with what the database fills in."""
    session.add(invitation)
    await session.flush()
    await session.refresh(invitation)


async def invitations_of(
    session: AsyncSession, workspace_id: UUID | None, *, offset: int, limit: int
) -> tuple[list[Invitation], int]:
    """A page of those that can still be accepted, newest first, and how many there are. Without a workspace: those that make an
    account and nothing else."""
    which = (Invitation.workspace_id.is_not_distinct_from(workspace_id), _OPEN)
    rows = await session.scalars(select(Invitation).where(*which).order_by(Invitation.id.desc()).offset(offset).limit(limit))
    total = await session.scalar(select(func.count()).select_from(Invitation).where(*which))
    return list(rows), total or 0


async def delete_invitation(session: AsyncSession, workspace_id: UUID | None, invitation_id: UUID) -> bool:
    """Withdraws one of this workspace, or one for an account. False when there is none that can still be accepted."""
    which = (
        Invitation.id == invitation_id,
        Invitation.workspace_id.is_not_distinct_from(workspace_id),
        Invitation.accepted_at.is_(None),
    )
    return changed(await session.execute(delete(Invitation).where(*which))) == 1


async def invited(session: AsyncSession, token_hash: bytes) -> tuple[Invitation, User, Workspace | None] | None:
    """An invitation that can be accepted, who invites, and whereto. None when it is unknown, used, withdrawn or has expired, or
    whoever made it might not make it any more."""
    row = (
        await session.execute(
            select(Invitation, User, Workspace)
            .join(User, User.id == Invitation.invited_by)
            .outerjoin(Workspace, Workspace.id == Invitation.workspace_id)
            .where(Invitation.token_hash == token_hash, _OPEN, _inviter_still_may())
        )
    ).first()
    return (row[0], row[1], row[2]) if row is not None else None


async def take_invitation(session: AsyncSession, invitation_id: UUID, accepted_by: UUID, now: datetime) -> bool:
    """Uses it up; whose address it was for is the account's to say from now on. False when somebody else did a moment ago."""
    taken = await session.execute(
        update(Invitation)
        .where(Invitation.id == invitation_id, _OPEN)
        .values(accepted_at=now, accepted_by=accepted_by, email=None)
        .execution_options(synchronize_session=False)
    )
    return changed(taken) == 1


async def join_workspace(session: AsyncSession, workspace_id: UUID, user_id: UUID, role: Role, *, above: Sequence[Role]) -> None:
    """Makes somebody a member. Who is one already gets this role if theirs is not one of those `above` it."""
    statement = insert(Member).values(workspace_id=workspace_id, user_id=user_id, role=role.value)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[Member.workspace_id, Member.user_id],
            set_={"role": statement.excluded.role},
            where=Member.role.not_in([other.value for other in above]),
        )
    )


async def delete_expired_invitations(session: AsyncSession, now: datetime) -> int:
    """Forgets those whose time is over, also accepted ones: the audit log has them."""
    return changed(await session.execute(delete(Invitation).where(Invitation.expires_at < now)))
