"""The gateway's environment. Names without the prefix `DOCUTALK_` are those that scripts outside the repository set."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Self

from docutalk_common.settings import ServiceSettings
from pydantic import Field, SecretStr, model_validator

from docutalk_gateway.domain import Limits

GIB = 1 << 30
_ORIGIN = re.compile(r"https?://[^/\s*?#@]+")
_PUBLIC_URL = re.compile(r"https?://[^\s?#@]+")
# Without TLS only on this machine: whoever could answer in the provider's name could be anybody.
_ISSUER = re.compile(r"(https://|http://(127\.0\.0\.1|\[::1\]|localhost)(?=[:/]|$))[^\s?#@]*")


class GatewaySettings(ServiceSettings):
    """`jwt_secret` is what signing keys are derived from: every gateway process of an installation needs the same one."""

    host: str = "127.0.0.1"
    port: int = 8000
    jwt_secret: SecretStr = Field(min_length=32)
    access_token_seconds: int = Field(default=15 * 60, ge=1)
    refresh_token_days: int = Field(default=30, ge=1)
    # How long a key signs access tokens.
    signing_key_days: float = Field(default=30.0, gt=0)
    admin_email: str | None = None
    admin_password: SecretStr | None = None
    open_registration: bool = Field(default=False, validation_alias="USERS_OPEN_REGISTRATION")
    cors_origins: str = Field(default="", validation_alias="CORS_ORIGINS")
    max_upload_bytes: int = 4 * GIB
    max_files_per_upload: int = 200
    # Of an archive that is imported, packed and unpacked.
    max_import_bytes: int = Field(default=64 * GIB, ge=1)
    answer_timeout_seconds: float = 300.0
    # Questions that one person may ask, in all workspaces together: no more than a script asks that waits for each answer.
    chat_messages_per_minute: int = Field(default=600, ge=1)
    # Requests of a person with all their sign-ins and keys, of a visitor, and of an address that has not signed in.
    requests_per_minute: int = Field(default=12_000, ge=1)
    visit_requests_per_minute: int = Field(default=600, ge=1)
    anonymous_requests_per_minute: int = Field(default=600, ge=1)
    # Failed sign-ins: of one account from one address and from one address in a quarter of an hour, of one account in an hour.
    login_failures: int = Field(default=5, ge=1)
    login_failures_per_address: int = Field(default=50, ge=1)
    login_failures_per_account: int = Field(default=50, ge=1)
    # How long a request may take until its answer begins; without it, half a minute longer than a whole chat answer may.
    request_seconds: float | None = Field(default=None, gt=0)
    # Addresses and networks of proxies: what they say in X-Forwarded-For is where a request comes from.
    trusted_proxies: str = ""
    audit_days: int = Field(default=365, ge=1)
    # How long somebody may look around who opened a share link, how many questions the visitors of one link may ask together,
    # and how long it is known what they did.
    share_visit_hours: float = Field(default=12.0, gt=0)
    share_questions_per_hour: int = Field(default=60, ge=0)
    share_log_days: float = Field(default=90.0, gt=0)
    # Where people reach the gateway from outside: scheme, host and, if there is one, the path before /api.
    public_url: str | None = None
    # Signing in at an OpenID provider: off without an issuer. Public clients have no secret. The name is shown on the button.
    openid_issuer: str | None = None
    openid_client_id: str | None = None
    openid_client_secret: SecretStr | None = None
    openid_scopes: str = "openid email profile"
    openid_name: str = "OpenID"
    # Whether everybody whom the provider knows gets an account. Otherwise only those who have one, or an invitation, get in.
    openid_register: bool = False
    # What a workspace may hold, and how often it may be asked, unless an administrator sets it for that one; unset: no limit.
    quota_documents: int | None = Field(default=None, ge=0)
    quota_bytes: int | None = Field(default=None, ge=0)
    quota_questions_per_day: int | None = Field(default=None, ge=0)
    # Objects of uploads that were cut off: how old they are when they are deleted, and how often they are looked for.
    sweep_after_hours: float = Field(default=24.0, gt=0)
    sweep_every_seconds: float = Field(default=3600.0, gt=0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.request_limit_seconds <= self.answer_timeout_seconds:
            raise ValueError("DOCUTALK_REQUEST_SECONDS must be more than DOCUTALK_ANSWER_TIMEOUT_SECONDS")
        for origin in self.cors_origin_list:
            # Browsers send it without a path: an origin that is written otherwise would never match.
            if not _ORIGIN.fullmatch(origin):
                raise ValueError("CORS_ORIGINS lists origins such as https://app.example.com, each by its name")
        try:
            self.trusted_proxy_list  # noqa: B018
        except ValueError:
            raise ValueError("DOCUTALK_TRUSTED_PROXIES lists addresses and networks such as 10.0.0.0/8") from None
        return self

    @model_validator(mode="after")
    def _openid_is_whole(self) -> Self:
        if self.public_url and not _PUBLIC_URL.fullmatch(self.public_url):
            raise ValueError("DOCUTALK_PUBLIC_URL is an address such as https://docutalk.example.com")
        if not self.openid_issuer:
            if self.openid_client_id or self.openid_client_secret:
                raise ValueError("DOCUTALK_OPENID_CLIENT_ID and its secret need DOCUTALK_OPENID_ISSUER: where to sign in")
            return self
        if not _ISSUER.fullmatch(self.openid_issuer):
            raise ValueError("DOCUTALK_OPENID_ISSUER is the provider's address, and begins with https://")
        if not self.openid_client_id or not self.public_url:
            raise ValueError(
                "DOCUTALK_OPENID_ISSUER needs DOCUTALK_OPENID_CLIENT_ID, which the provider gave, and DOCUTALK_PUBLIC_URL, where"
                " it sends people back to"
            )
        if "openid" not in self.openid_scopes.split():
            raise ValueError("DOCUTALK_OPENID_SCOPES must have openid among its words")
        return self

    @property
    def request_limit_seconds(self) -> float:
        """How long a request may take until its answer begins."""
        return self.request_seconds if self.request_seconds is not None else self.answer_timeout_seconds + 30

    @property
    def trusted_proxy_list(self) -> list[str]:
        """`DOCUTALK_TRUSTED_PROXIES` as networks. Raises `ValueError`."""
        entries = [entry.strip() for entry in self.trusted_proxies.split(",") if entry.strip()]
        return [str(ipaddress.ip_network(entry, strict=False)) for entry in entries]

    @property
    def limits(self) -> Limits:
        """The limits of a workspace that has none of its own."""
        return Limits(self.quota_documents, self.quota_bytes, self.quota_questions_per_day)

    @property
    def cors_origin_list(self) -> list[str]:
        """`CORS_ORIGINS` as a list: either JSON or separated by commas."""
        text = self.cors_origins.strip()
        if text.startswith("["):
            return [str(origin) for origin in json.loads(text)]
        return [origin.strip() for origin in text.split(",") if origin.strip()]
