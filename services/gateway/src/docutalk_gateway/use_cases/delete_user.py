"""An account goes for good, with the workspaces that are its owner's alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import UserDeleted
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.storage import ObjectStorage
from docutalk_common.telemetry import get_logger

from docutalk_gateway.adapters import account_repository, erasure_repository, import_repository, repository, share_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.erasure_repository import ErasureState, Membership
from docutalk_gateway.adapters.models import Erasure
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.domain import Conflict, ErasureKind, Role
from docutalk_gateway.use_cases.delete_workspace import erase_workspace
from docutalk_gateway.use_cases.erase_visits import erase_visits
from docutalk_gateway.use_cases.go_after_a_deadlock import one_after_the_other
from docutalk_gateway.use_cases.limit_attempts import AttemptLimits, forgive_attempt
from docutalk_gateway.use_cases.prove_password import expect_fresh_sign_in, prove_password
from docutalk_gateway.use_cases.store_receipt import OTHERS

log = get_logger(__name__)


async def delete_own_account(
    db: Database,
    storage: ObjectStorage,
    passwords: Passwords,
    cause: Cause,
    actor: Actor,
    *,
    limits: AttemptLimits,
    user_id: UUID,
    sign_in_id: UUID | None,
    password: str | None,
) -> ErasureState:
    """As `delete_user`, by that person. An account without a password takes a sign-in of a moment ago (`NotAllowed`), one that
    has a password takes that: raises `RequestFailed("invalid")` without it, `WrongPassword`, `TooManyRequests`."""
    async with db.read() as session:
        user = await repository.user_by_id(session, user_id)
    if user is not None and user.password_hash is not None:
        if password is None:
            raise RequestFailed("invalid", "password is missing: it takes your password to delete your account.")
        proof = await prove_password(db, passwords, cause, actor, limits=limits, user_id=user_id, password=password)
        async with db.transaction(cause) as tx:
            await forgive_attempt(tx.session, proof.limits)
    else:
        await expect_fresh_sign_in(db, sign_in_id)
    # From where somebody deleted their account is not kept of them either.
    return await delete_user(db, storage, cause, replace(actor, address=None, user_agent=None), user_id=user_id)


async def delete_user(db: Database, storage: ObjectStorage, cause: Cause, actor: Actor, *, user_id: UUID) -> ErasureState:
    """Removes the account with all that is its alone, takes its name off what is in the workspaces of others, and emits
    `UserDeleted`. Sign-ins and keys end at once.

    Raises `NotFound`, and `Conflict` for the last administrator and for somebody without whom others' workspaces had no owner.
    """

    archives: list[str] = []

    async def delete() -> ErasureState:
        nonlocal archives
        async with db.transaction(cause) as tx:
            await erasure_repository.lock_erasures(tx.session)
            await account_repository.lock_administrators(tx.session)
            found = await erasure_repository.lock_memberships(tx.session, user_id)
            if found is None:
                raise NotFound("There is no such account.")
            user, memberships = found
            if await account_repository.is_last_administrator(tx.session, user_id):
                raise Conflict("This is the only administrator. Make somebody else one first.")
            _check_owners(memberships, by_themselves=actor.id == user_id)
            await erase_visits(tx, await share_repository.delete_visits_of(tx.session, user_id))
            erasure = Erasure(id=uuid7(), kind=ErasureKind.USER.value, subject_id=user_id, services=list(OTHERS))
            await erasure_repository.add_erasure(tx.session, erasure)
            for membership in memberships:
                if membership.members == 1:
                    await erase_workspace(tx, actor, membership.workspace_id, parent_id=erasure.id)
            for workspace_id in await import_repository.workspaces_in_the_making(tx.session, user_id):
                await erase_workspace(tx, actor, workspace_id, parent_id=erasure.id)
            archives = await erasure_repository.archives_of(tx.session, user_id)
            await erasure_repository.add_own_receipt(tx.session, erasure, await erasure_repository.remove_user(tx.session, user))
            tx.emit(UserDeleted(user_id=user_id, erasure_id=erasure.id))
            note(tx.session, Action.USER_DELETED, actor, target_id=user_id)
            return await erasure_repository.erasure_state(tx.session, erasure)

    state = await one_after_the_other(delete)
    await _delete_archives(storage, archives)
    return state


async def _delete_archives(storage: ObjectStorage, keys: Sequence[str]) -> None:
    if not keys:
        return
    try:
        await storage.delete(keys)
    except Exception as error:
        # The account is gone, and its owner is to be told so. Nothing knows the archives any more: they are swept.
        reason = f"{type(error).__name__}: {error}"
        log.warning("archives of a deleted user stay for now", count=len(keys), reason=reason)


def _check_owners(memberships: Sequence[Membership], *, by_themselves: bool) -> None:
    left = [m for m in memberships if m.role is Role.OWNER and m.members > 1 and not m.has_other_owner]
    if not left:
        return
    # What a workspace is called is its members' own.
    names = ", ".join(f"{m.name} ({m.workspace_id})" if by_themselves else str(m.workspace_id) for m in left)
    raise Conflict(f"Others are members of workspaces that would have no owner: {names}. Transfer them first, or delete them.")
