"""Every query of the gateway. Functions take the session of a read or of a transaction; nothing commits here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Uuid, Values, column, delete, exists, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters.models import (
    ApiKey,
    IdempotencyKey,
    Member,
    PostedMessage,
    RefreshToken,
    SignIn,
    SigningKey,
    Upload,
    User,
    Workspace,
)
from docutalk_gateway.adapters.row_counts import changed
from docutalk_gateway.domain import Role

# Users -----------------------------------------------------------------------------------------------------------


async def user_by_email(session: AsyncSession, email: str) -> User | None:
    """The account with this address, whatever its case."""
    return cast("User | None", await session.scalar(select(User).where(User.email == email)))


async def user_by_id(session: AsyncSession, user_id: UUID) -> User | None:
    """An account."""
    return await session.get(User, user_id)


async def add_user(session: AsyncSession, user: User, workspace: Workspace) -> bool:
    """Stores a user who owns `workspace`. False, and nothing stored, when the address is taken (also by a racing request)."""
    await session.execute(insert(Workspace).values(id=workspace.id, name=workspace.name, description=workspace.description))
    added = await session.execute(
        insert(User)
        .values(
            id=user.id,
            email=user.email,
            password_hash=user.password_hash,
            display_name=user.display_name,
            is_admin=user.is_admin,
            email_vouched=user.email_vouched,
            default_workspace_id=workspace.id,
        )
        .on_conflict_do_nothing(index_elements=[User.email])
    )
    if changed(added) == 0:
        await session.execute(delete(Workspace).where(Workspace.id == workspace.id))
        return False
    await add_member(session, workspace.id, user.id, Role.OWNER)
    return True


# Sign-ins --------------------------------------------------------------------------------------------------------


async def add_sign_in(session: AsyncSession, sign_in: SignIn) -> None:
    """Stores a new one."""
    session.add(sign_in)
    await session.flush()


async def signed_in_user(session: AsyncSession, sign_in_id: UUID, *, signed_with: str | None = None) -> User | None:
    """Whose sign-in it is; None when it was ended or has expired, the account is disabled, or nothing is accepted any more that
    was signed with the key `signed_with`."""
    accepted = _key_is_accepted(signed_with) if signed_with is not None else true()
    return cast(
        "User | None",
        await session.scalar(
            select(User)
            .join(SignIn, SignIn.user_id == User.id)
            .where(
                SignIn.id == sign_in_id,
                SignIn.revoked_at.is_(None),
                SignIn.expires_at > func.now(),
                User.disabled_at.is_(None),
                accepted,
            )
        ),
    )


async def sign_in_begun(session: AsyncSession, sign_in_id: UUID) -> datetime | None:
    """When somebody signed in; None when there is no such sign-in."""
    return cast("datetime | None", await session.scalar(select(SignIn.created_at).where(SignIn.id == sign_in_id)))


async def sign_ins_of(session: AsyncSession, user_id: UUID, *, offset: int, limit: int) -> tuple[list[SignIn], int]:
    """A page of those that can still be used, last used first, and how many there are."""
    live = (SignIn.user_id == user_id, SignIn.revoked_at.is_(None), SignIn.expires_at > func.now())
    rows = await session.scalars(
        select(SignIn).where(*live).order_by(SignIn.last_used_at.desc(), SignIn.id).offset(offset).limit(limit)
    )
    total = await session.scalar(select(func.count()).select_from(SignIn).where(*live))
    return list(rows), total or 0


async def add_refresh_token(session: AsyncSession, token: RefreshToken) -> None:
    """Stores a new link of a sign-in's chain."""
    session.add(token)
    await session.flush()


async def lock_refresh_token(session: AsyncSession, token_hash: bytes) -> tuple[RefreshToken, SignIn] | None:
    """The token with this hash and its sign-in, which is locked, so that of two uses at once the second sees all that the first
    did."""
    row = (
        await session.execute(
            select(SignIn)
            .join(RefreshToken, RefreshToken.sign_in_id == SignIn.id)
            .where(RefreshToken.token_hash == token_hash)
            .with_for_update(of=SignIn)
        )
    ).first()
    if row is None:
        return None
    # Read when the sign-in is locked: what was read before may be of the moment before another use.
    token = await session.scalar(select(RefreshToken).where(RefreshToken.token_hash == token_hash))
    return (token, row[0]) if token is not None else None


async def end_sign_ins(
    session: AsyncSession, user_id: UUID, now: datetime, *, only: UUID | None = None, but: UUID | None = None
) -> int:
    """Ends this person's sign-ins: all, or `only` one, or all `but` one. Returns how many were not ended before."""
    which = [SignIn.user_id == user_id, SignIn.revoked_at.is_(None)]
    if only is not None:
        which.append(SignIn.id == only)
    if but is not None:
        which.append(SignIn.id != but)
    return changed(await session.execute(update(SignIn).where(*which).values(revoked_at=now)))


async def delete_expired_sign_ins(session: AsyncSession, before: datetime) -> int:
    """Forgets sign-ins that expired before `before`, with their tokens."""
    await session.execute(delete(RefreshToken).where(RefreshToken.expires_at < before))
    return changed(await session.execute(delete(SignIn).where(SignIn.expires_at < before)))


# Signing keys ----------------------------------------------------------------------------------------------------


async def signing_keys(session: AsyncSession, now: datetime) -> list[SigningKey]:
    """Those that are accepted, newest first."""
    rows = await session.scalars(
        select(SigningKey)
        .where(or_(SigningKey.retires_at.is_(None), SigningKey.retires_at > now))
        .order_by(SigningKey.created_at.desc(), SigningKey.id.desc())
    )
    return list(rows)


def _key_is_accepted(key_id: str) -> ColumnElement[bool]:
    """Whether this key is accepted, asked with each request: what another gateway has retired is known here a minute late."""
    return exists().where(SigningKey.id == key_id, or_(SigningKey.retires_at.is_(None), SigningKey.retires_at > func.now()))


async def accepts_key(session: AsyncSession, key_id: str) -> bool:
    """The same of one."""
    return bool(await session.scalar(select(_key_is_accepted(key_id))))


async def lock_signing_keys(session: AsyncSession) -> None:
    """Until the end of the transaction nobody else makes or retires a key."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("signing_keys", 4))))


async def retire_signing_keys(session: AsyncSession, at: datetime) -> None:
    """No key that there is is accepted after `at`."""
    await session.execute(
        update(SigningKey).where(or_(SigningKey.retires_at.is_(None), SigningKey.retires_at > at)).values(retires_at=at)
    )


async def delete_retired_keys(session: AsyncSession, now: datetime) -> int:
    """Forgets keys that nothing is accepted of any more."""
    return changed(await session.execute(delete(SigningKey).where(SigningKey.retires_at < now)))


# API keys --------------------------------------------------------------------------------------------------------


async def add_api_key(session: AsyncSession, key: ApiKey, *, most: int) -> bool:
    """Stores a key. False when its owner has `most` already; whoever makes one at the same moment waits."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(str(key.user_id), 3))))
    held = await session.scalar(select(func.count()).select_from(ApiKey).where(ApiKey.user_id == key.user_id))
    if (held or 0) >= most:
        return False
    session.add(key)
    await session.flush()
    await session.refresh(key)
    return True


async def api_key_by_hash(session: AsyncSession, key_hash: bytes) -> tuple[ApiKey, User] | None:
    """The key with this hash, also one that has expired, and its owner."""
    row = (
        await session.execute(select(ApiKey, User).join(User, User.id == ApiKey.user_id).where(ApiKey.key_hash == key_hash))
    ).first()
    return (row[0], row[1]) if row is not None else None


async def user_of_key(session: AsyncSession, key_id: UUID, now: datetime) -> User | None:
    """Whose key it is; None when it was deleted or has expired, or the account is disabled."""
    unexpired = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)
    which = (ApiKey.id == key_id, unexpired, User.disabled_at.is_(None))
    return cast("User | None", await session.scalar(select(User).join(ApiKey, ApiKey.user_id == User.id).where(*which)))


async def mark_key_used(session: AsyncSession, key_id: UUID, now: datetime, *, unless_since: datetime) -> None:
    """Notes that a key was used, unless that was noted at or after `unless_since`."""
    await session.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id, or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < unless_since))
        .values(last_used_at=now)
    )


async def api_keys_of(session: AsyncSession, user_id: UUID, *, offset: int, limit: int) -> tuple[list[ApiKey], int]:
    """A page of this person's keys, newest first, and how many there are."""
    mine = ApiKey.user_id == user_id
    rows = await session.scalars(select(ApiKey).where(mine).order_by(ApiKey.id.desc()).offset(offset).limit(limit))
    total = await session.scalar(select(func.count()).select_from(ApiKey).where(mine))
    return list(rows), total or 0


async def delete_api_key(session: AsyncSession, user_id: UUID, key_id: UUID) -> bool:
    """Deletes a key of this person; False when there is none."""
    return changed(await session.execute(delete(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == user_id))) == 1


# Workspaces ------------------------------------------------------------------------------------------------------


async def add_member(session: AsyncSession, workspace_id: UUID, user_id: UUID, role: Role) -> None:
    """Makes somebody a member."""
    await session.execute(insert(Member).values(workspace_id=workspace_id, user_id=user_id, role=role.value))


async def workspace_by_id(session: AsyncSession, workspace_id: UUID) -> Workspace | None:
    """A workspace, whoever asks."""
    return await session.get(Workspace, workspace_id)


async def workspace_of(session: AsyncSession, workspace_id: UUID, user_id: UUID) -> tuple[Workspace, Role] | None:
    """A workspace with this member's role."""
    row = (
        await session.execute(
            select(Workspace, Member.role)
            .join(Member, Member.workspace_id == Workspace.id)
            .where(Workspace.id == workspace_id, Member.user_id == user_id)
        )
    ).first()
    return (row[0], Role(row[1])) if row is not None else None


async def workspaces_of(
    session: AsyncSession, user_id: UUID, *, offset: int, limit: int
) -> tuple[list[tuple[Workspace, Role]], int]:
    """A page of this person's workspaces, oldest first, and how many there are."""
    mine = select(Workspace, Member.role).join(Member, Member.workspace_id == Workspace.id).where(Member.user_id == user_id)
    rows = (await session.execute(mine.order_by(Workspace.id).offset(offset).limit(limit))).all()
    total = await session.scalar(select(func.count()).select_from(Member).where(Member.user_id == user_id))
    return [(row[0], Role(row[1])) for row in rows], total or 0


async def workspaces_named(session: AsyncSession, user_id: UUID, name: str, *, limit: int) -> list[UUID]:
    """The ids of this person's workspaces with that name, whatever its case."""
    rows = await session.scalars(
        select(Workspace.id)
        .join(Member, Member.workspace_id == Workspace.id)
        .where(Member.user_id == user_id, func.lower(Workspace.name) == func.lower(name))
        .limit(limit)
    )
    return list(rows)


async def members_of(
    session: AsyncSession, workspace_id: UUID, *, offset: int, limit: int
) -> tuple[list[tuple[Member, User]], int]:
    """A page of a workspace's members, oldest first, and how many there are."""
    rows = (
        await session.execute(
            select(Member, User)
            .join(User, User.id == Member.user_id)
            .where(Member.workspace_id == workspace_id)
            .order_by(Member.created_at, User.id)
            .offset(offset)
            .limit(limit)
        )
    ).all()
    total = await session.scalar(select(func.count()).select_from(Member).where(Member.workspace_id == workspace_id))
    return [(row[0], row[1]) for row in rows], total or 0


# Uploads ---------------------------------------------------------------------------------------------------------


_CURRENT = Upload.superseded_at.is_(None)


async def add_upload(session: AsyncSession, upload: Upload) -> bool:
    """Stores an upload, by default as the first version of its document. False when these bytes are the current version of a
    document in the workspace already; waits for a racing request to decide."""
    added = await session.execute(
        insert(Upload)
        .values(
            document_id=upload.document_id,
            version=upload.version or 1,
            workspace_id=upload.workspace_id,
            uploaded_by=upload.uploaded_by,
            filename=upload.filename,
            content_type=upload.content_type,
            size=upload.size,
            sha256=upload.sha256,
            object_key=upload.object_key,
        )
        .on_conflict_do_nothing(index_elements=[Upload.workspace_id, Upload.sha256], index_where=_CURRENT)
    )
    return changed(added) == 1


async def lock_versions(session: AsyncSession, document_id: UUID) -> None:
    """Until the end of the transaction nobody else adds a version to this document. The current row's own lock is not enough:
    who waited for it would find that it is not current any more, and none in its place."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(str(document_id), 1))))


async def supersede_upload(session: AsyncSession, upload: Upload, now: datetime) -> None:
    """Ends this version's time as the current one: its hash is free."""
    await session.execute(
        update(Upload)
        .where(Upload.document_id == upload.document_id, Upload.version == upload.version, _CURRENT)
        .values(superseded_at=now)
    )


async def upload_by_hash(session: AsyncSession, workspace_id: UUID, sha256: str) -> Upload | None:
    """The current version with these bytes."""
    return cast(
        "Upload | None",
        await session.scalar(select(Upload).where(Upload.workspace_id == workspace_id, Upload.sha256 == sha256, _CURRENT)),
    )


async def upload_of(session: AsyncSession, workspace_id: UUID, document_id: UUID, *, version: int | None = None) -> Upload | None:
    """The upload that made this version of the document; without `version` the current one."""
    which = _CURRENT if version is None else Upload.version == version
    return cast(
        "Upload | None",
        await session.scalar(select(Upload).where(Upload.workspace_id == workspace_id, Upload.document_id == document_id, which)),
    )


async def unseen_uploads(session: AsyncSession, workspace_id: UUID, *, limit: int) -> list[Upload]:
    """Current versions that ingest has not been seen to know, newest documents first."""
    rows = await session.scalars(
        select(Upload)
        .where(Upload.workspace_id == workspace_id, Upload.seen_at.is_(None), _CURRENT)
        .order_by(Upload.document_id.desc())
        .limit(limit)
    )
    return list(rows)


async def unregistered(session: AsyncSession, workspace_id: UUID, document_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the documents that were accepted and that ingest has not been seen to know."""
    if not document_ids:
        return set()
    rows = await session.scalars(
        select(Upload.document_id).where(
            Upload.workspace_id == workspace_id, Upload.document_id.in_(document_ids), Upload.seen_at.is_(None), _CURRENT
        )
    )
    return set(rows)


async def mark_seen(session: AsyncSession, versions: Mapping[UUID, int], now: datetime) -> None:
    """Notes that ingest knows these documents, each up to the version that stands with it."""
    pairs = Values(column("document_id", Uuid), column("version", Integer), name="seen").data(sorted(versions.items()))
    await session.execute(
        update(Upload)
        .where(Upload.document_id == pairs.c.document_id, Upload.version <= pairs.c.version, Upload.seen_at.is_(None))
        .values(seen_at=now)
        .execution_options(synchronize_session=False)
    )


async def rename_uploads(session: AsyncSession, workspace_id: UUID, document_id: UUID, filename: str) -> None:
    """Gives every version of a document this name."""
    await session.execute(
        update(Upload).where(Upload.workspace_id == workspace_id, Upload.document_id == document_id).values(filename=filename)
    )


async def delete_uploads(session: AsyncSession, workspace_id: UUID, document_ids: Sequence[UUID]) -> int:
    """Frees the hashes of deleted documents, so that their bytes may come again.

    A version that is being added waits, or is waited for: its row cannot be seen yet, and would stay as an upload that ingest
    never registers.
    """
    for document_id in sorted(document_ids):  # in one order: two that delete the same documents would wait for each other
        await lock_versions(session, document_id)
    return changed(
        await session.execute(delete(Upload).where(Upload.workspace_id == workspace_id, Upload.document_id.in_(document_ids)))
    )


async def delete_superseded_uploads(session: AsyncSession, before: datetime) -> int:
    """Forgets versions that were superseded before `before` and that ingest keeps, or not, by itself."""
    return changed(await session.execute(delete(Upload).where(Upload.superseded_at < before, Upload.seen_at.is_not(None))))


async def known_objects(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Those of the keys that belong to a version that is known here."""
    return set(await session.scalars(select(Upload.object_key).where(Upload.object_key.in_(keys))))


# Messages --------------------------------------------------------------------------------------------------------


async def add_posted_message(session: AsyncSession, message: PostedMessage) -> bool:
    """Stores who asked. False when a message with this idempotency key is there already."""
    added = await session.execute(
        insert(PostedMessage)
        .values(
            answer_id=message.answer_id,
            message_id=message.message_id,
            session_id=message.session_id,
            workspace_id=message.workspace_id,
            user_id=message.user_id,
            idempotency_key=message.idempotency_key,
            fingerprint=message.fingerprint,
        )
        .on_conflict_do_nothing(constraint="posted_messages_key")
    )
    return changed(added) == 1


async def earliest_message_over(session: AsyncSession, user_id: UUID, most: int, *, seconds: float) -> datetime | None:
    """None while this person posted at most `most` messages in the last `seconds`; else when the oldest of the newest `most` + 1
    was posted. Whoever posts at the same moment waits, so that both are counted."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(str(user_id), 2))))
    since = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return await session.scalar(
        select(PostedMessage.created_at)
        .where(PostedMessage.user_id == user_id, PostedMessage.created_at > since)
        .order_by(PostedMessage.created_at.desc())
        .offset(most)
        .limit(1)
    )


async def posted_message(session: AsyncSession, workspace_id: UUID, user_id: UUID, answer_id: UUID) -> PostedMessage | None:
    """The message behind an answer, if this person asked it here."""
    return cast(
        "PostedMessage | None",
        await session.scalar(
            select(PostedMessage).where(
                PostedMessage.answer_id == answer_id,
                PostedMessage.workspace_id == workspace_id,
                PostedMessage.user_id == user_id,
            )
        ),
    )


async def posted_message_by_key(session: AsyncSession, workspace_id: UUID, user_id: UUID, key: str) -> PostedMessage | None:
    """The message that was posted with this idempotency key."""
    return cast(
        "PostedMessage | None",
        await session.scalar(
            select(PostedMessage).where(
                PostedMessage.workspace_id == workspace_id,
                PostedMessage.user_id == user_id,
                PostedMessage.idempotency_key == key,
            )
        ),
    )


async def free_message_keys(session: AsyncSession, before: datetime) -> int:
    """Forgets the idempotency keys of what was asked before `before`: they may be used again."""
    keyed = (PostedMessage.created_at < before, PostedMessage.idempotency_key.is_not(None))
    return changed(await session.execute(update(PostedMessage).where(*keyed).values(idempotency_key=None)))


async def delete_old_messages(session: AsyncSession, before: datetime) -> int:
    """Forgets who asked, when the log has forgotten what. The conversation itself is in chat."""
    return changed(await session.execute(delete(PostedMessage).where(PostedMessage.created_at < before)))


# Idempotency -----------------------------------------------------------------------------------------------------


async def claim_key(session: AsyncSession, claim: IdempotencyKey, *, abandoned_before: datetime, now: datetime) -> bool:
    """Takes a key for this request: a new one, an expired one, or one whose request died without an answer. False when held."""
    statement = insert(IdempotencyKey).values(
        user_id=claim.user_id,
        route=claim.route,
        key=claim.key,
        fingerprint=claim.fingerprint,
        claimed_at=now,
        expires_at=claim.expires_at,
    )
    taken = await session.execute(
        statement.on_conflict_do_update(
            index_elements=[IdempotencyKey.user_id, IdempotencyKey.route, IdempotencyKey.key],
            set_={
                "fingerprint": statement.excluded.fingerprint,
                "claimed_at": statement.excluded.claimed_at,
                "expires_at": statement.excluded.expires_at,
                "status": None,
                "headers": None,
                "body": None,
            },
            where=or_(
                IdempotencyKey.expires_at < now,
                IdempotencyKey.status.is_(None) & (IdempotencyKey.claimed_at < abandoned_before),
            ),
        )
    )
    return changed(taken) == 1


async def idempotency_key(session: AsyncSession, user_id: UUID, route: str, key: str) -> IdempotencyKey | None:
    """What is known of a key."""
    return await session.get(IdempotencyKey, (user_id, route, key))


async def complete_key(session: AsyncSession, done: IdempotencyKey) -> None:
    """Stores the answer to replay."""
    await session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.user_id == done.user_id, IdempotencyKey.route == done.route, IdempotencyKey.key == done.key)
        .values(fingerprint=done.fingerprint, status=done.status, headers=done.headers, body=done.body)
    )


async def release_key(session: AsyncSession, user_id: UUID, route: str, key: str) -> None:
    """Forgets a claim whose request failed, so that it may be tried again."""
    await session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.user_id == user_id,
            IdempotencyKey.route == route,
            IdempotencyKey.key == key,
            IdempotencyKey.status.is_(None),
        )
    )


async def delete_expired_keys(session: AsyncSession, now: datetime) -> int:
    """Forgets keys after their day."""
    return changed(await session.execute(delete(IdempotencyKey).where(IdempotencyKey.expires_at < now)))
