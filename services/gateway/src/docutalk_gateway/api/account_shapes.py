"""What goes over HTTP about accounts, sign-ins, invitations and signing keys."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr, model_validator

from docutalk_gateway.adapters import models
from docutalk_gateway.api.devices import device_of
from docutalk_gateway.api.shapes import Body, Email, Line
from docutalk_gateway.domain import PASSWORD_MAX, PASSWORD_MIN, Role
from docutalk_gateway.use_cases.accept_invitation import Invited as InvitedTo

WEEK_HOURS = 168
MONTH_HOURS = 720

NewPassword = Annotated[SecretStr, Field(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)]
# Not looked at more closely: what is no password of theirs is wrong.
GivenPassword = Annotated[SecretStr, Field(max_length=PASSWORD_MAX)]
Secret = Annotated[str, Field(max_length=200)]


# Signing in ------------------------------------------------------------------------------------------------------


class RegistrationState(StrEnum):
    """Who may register: everybody, whoever has an invitation, or the first one, who becomes the administrator."""

    OPEN = "open"
    CLOSED = "closed"
    FIRST = "first"


class SignInOptions(BaseModel):
    """The ways in. `openid` is what the provider is called here; null without one."""

    registration: RegistrationState
    password: bool
    openid: str | None


class ResetWith(Body):
    """The token of a reset, and the password that is to be."""

    token: Secret
    new_password: NewPassword


# Oneself ---------------------------------------------------------------------------------------------------------


class AccountChanges(Body):
    """What to change; a field that is left out stays. Another `email` takes the `current_password`."""

    display_name: Line | None = None
    default_workspace_id: UUID = UUID(int=0)
    email: Email = ""
    current_password: GivenPassword | None = None

    @model_validator(mode="after")
    def _proven(self) -> Self:
        if "email" in self.model_fields_set and self.current_password is None:
            raise ValueError("another email takes the current_password")
        return self


class PasswordChange(Body):
    """`current_password` is left out only by who has none yet, because they sign in with OpenID."""

    current_password: GivenPassword | None = None
    new_password: NewPassword


class SignIn(BaseModel):
    """Where somebody is signed in. `device`, `user_agent` and `address` are those of its last use; `current`: whether it is the
    one that asks. `method` is `password` or `openid`."""

    id: UUID
    device: str
    user_agent: str | None
    address: str | None
    method: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    current: bool

    @classmethod
    def of(cls, sign_in: models.SignIn, current: UUID | None) -> SignIn:
        """From the table."""
        return cls(
            id=sign_in.id,
            device=device_of(sign_in.user_agent),
            user_agent=sign_in.user_agent,
            address=sign_in.address,
            method=sign_in.method,
            created_at=sign_in.created_at,
            last_used_at=sign_in.last_used_at,
            expires_at=sign_in.expires_at,
            current=sign_in.id == current,
        )


# Invitations -----------------------------------------------------------------------------------------------------


class NewAccountInvitation(Body):
    """A link that makes one account. With `email` it is for that address only."""

    email: Email | None = None
    expires_in_hours: Annotated[int, Field(ge=1, le=MONTH_HOURS)] = WEEK_HOURS


class NewInvitation(NewAccountInvitation):
    """A link into a workspace, for one person, whether or not they have an account. With `email` it is for that address only."""

    role: Role


class Invitation(BaseModel):
    """A link that has not been used yet. `role` is null when it makes an account and nothing else."""

    id: UUID
    email: str | None
    role: Role | None
    invited_by: UUID
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, invitation: models.Invitation) -> Invitation:
        """From the table."""
        return cls.model_validate(invitation, from_attributes=True)


class CreatedInvitation(Invitation):
    """`token` and `link` are shown this once: hand the link to whom you invite."""

    token: str
    link: str


class Invited(BaseModel):
    """What an invitation is. `invited_by` is what its maker is called; `workspace` and `role` are null when it makes an account
    and nothing else; `email`: the only address that it works for."""

    invited_by: str | None
    workspace: str | None
    role: Role | None
    email: str | None
    expires_at: datetime

    @classmethod
    def of(cls, found: InvitedTo) -> Invited:
        """Without ids and addresses of others."""
        return cls(
            invited_by=found.inviter.display_name,
            workspace=found.workspace.name if found.workspace is not None else None,
            role=Role(found.invitation.role) if found.invitation.role is not None else None,
            email=found.invitation.email,
            expires_at=found.invitation.expires_at,
        )


# The installation ------------------------------------------------------------------------------------------------


class Account(BaseModel):
    """An account as administrators see it. `has_password` is false for who signs in with OpenID only. `email_vouched`: somebody
    else than its owner said that the address is theirs, so that an OpenID provider's word for it opens this account."""

    id: UUID
    email: str
    display_name: str | None
    is_admin: bool
    disabled: bool
    has_password: bool
    email_vouched: bool
    created_at: datetime

    @classmethod
    def of(cls, user: models.User) -> Account:
        """From the table."""
        return cls(
            id=user.id,
            email=user.email,
            display_name=user.display_name,
            is_admin=user.is_admin,
            disabled=user.disabled_at is not None,
            has_password=user.password_hash is not None,
            email_vouched=user.email_vouched,
            created_at=user.created_at,
        )


class AccountRights(Body):
    """What to change; a field that is left out stays."""

    is_admin: bool = False
    disabled: bool = False
    email_vouched: bool = False


class PasswordReset(BaseModel):
    """Shown this once: hand it to whom the account belongs. `POST /auth/reset` takes the token, once."""

    token: str
    link: str
    expires_at: datetime


class SigningKey(BaseModel):
    """What access tokens are signed with, without what is secret of it. The newest one signs; what others have signed is accepted
    until `retires_at`."""

    id: str
    created_at: datetime
    retires_at: datetime | None

    @classmethod
    def of(cls, key: models.SigningKey) -> SigningKey:
        """From the table."""
        return cls.model_validate(key, from_attributes=True)


class KeyRotation(Body):
    """`at_once`: tokens of the keys before are refused from now on, and everybody refreshes theirs. Else they stay valid until
    their own end."""

    at_once: bool = False
