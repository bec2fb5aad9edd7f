"""The gateway's environment. Names without the prefix `DOCUTALK_` are those that scripts outside the repository set."""

from __future__ import annotations

import json

from docutalk_common.settings import ServiceSettings
from pydantic import Field, SecretStr

GIB = 1 << 30


class GatewaySettings(ServiceSettings):
    """`jwt_secret` is what signing keys are derived from: every gateway process of an installation needs the same one."""

    host: str = "127.0.0.1"
    port: int = 8000
    jwt_secret: SecretStr = Field(min_length=32)
    access_token_seconds: int = 15 * 60
    refresh_token_days: int = 30
    # How long a key signs access tokens.
    signing_key_days: float = Field(default=30.0, gt=0)
    admin_email: str | None = None
    admin_password: SecretStr | None = None
    open_registration: bool = Field(default=False, validation_alias="USERS_OPEN_REGISTRATION")
    cors_origins: str = Field(default="", validation_alias="CORS_ORIGINS")
    max_upload_bytes: int = 4 * GIB
    max_files_per_upload: int = 200
    answer_timeout_seconds: float = 300.0
    # Questions that one person may ask, in all workspaces together: no more than a script asks that waits for each answer.
    chat_messages_per_minute: int = Field(default=600, ge=1)
    # Objects of uploads that were cut off: how old they are when they are deleted, and how often they are looked for.
    sweep_after_hours: float = Field(default=24.0, gt=0)
    sweep_every_seconds: float = Field(default=3600.0, gt=0)

    @property
    def cors_origin_list(self) -> list[str]:
        """`CORS_ORIGINS` as a list: either JSON or separated by commas."""
        text = self.cors_origins.strip()
        if text.startswith("["):
            return [str(origin) for origin in json.loads(text)]
        return [origin.strip() for origin in text.split(",") if origin.strip()]
