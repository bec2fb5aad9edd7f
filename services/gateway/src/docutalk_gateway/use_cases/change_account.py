"""What somebody says of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_gateway.adapters import account_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import User
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.domain import EmailTaken
from docutalk_gateway.use_cases.limit_attempts import AttemptLimits, forgive_attempt
from docutalk_gateway.use_cases.prove_password import Proof, prove_password


@dataclass(frozen=True)
class NewEmail:
    """Another address to sign in with. Whoever has only an access token may not take the account along by it."""

    email: str
    current_password: str


async def change_account(
    db: Database,
    passwords: Passwords,
    cause: Cause,
    actor: Actor,
    *,
    limits: AttemptLimits,
    user_id: UUID,
    changes: Mapping[str, str | UUID | None],
    new_email: NewEmail | None = None,
) -> User:
    """Sets `display_name` and `default_workspace_id`, and the address. Raises `RequestFailed("invalid")` for a workspace of which
    this person is no member; for an address `WrongPassword`, `EmailTaken` and `TooManyRequests`."""
    proof: Proof | None = None
    if new_email is not None:
        proof = await prove_password(
            db, passwords, cause, actor, limits=limits, user_id=user_id, password=new_email.current_password
        )
    async with db.transaction(cause) as tx:
        user = await account_repository.lock_account(tx.session, user_id)
        if user is None:
            raise NotFound("This account does not exist any more.")
        workspace_id = changes.get("default_workspace_id")
        if isinstance(workspace_id, UUID) and await repository.workspace_of(tx.session, workspace_id, user_id) is None:
            raise RequestFailed("invalid", "default_workspace_id: you are a member of no such workspace.")
        for field, value in changes.items():
            setattr(user, field, value)
        if new_email is not None and proof is not None:
            if not await account_repository.set_email(tx.session, user, new_email.email):
                # It stays counted as a failed attempt: this is no way to see which addresses have accounts.
                raise EmailTaken
            await forgive_attempt(tx.session, proof.limits)
            note(tx.session, Action.USER_CHANGED, actor, target_id=user_id, email=True)
        return user
