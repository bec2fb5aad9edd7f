"""The gateway's environment. Names without the prefix `DOCUTALK_` are those that scripts outside the repository set."""

from __future__ import annotations

import json

from docutalk_common.settings import ServiceSettings
from pydantic import Field, SecretStr

GIB = 1 << 30


class GatewaySettings(ServiceSettings):
    """`jwt_secret` signs access tokens: every gateway process of an installation needs the same one."""

    host: str = "127.0.0.1"
    port: int = 8000
    jwt_secret: SecretStr = Field(min_length=32)
    access_token_seconds: int = 15 * 60
    refresh_token_days: int = 30
    admin_email: str | None = None
    admin_password: SecretStr | None = None
    open_registration: bool = Field(default=False, validation_alias="USERS_OPEN_REGISTRATION")
    cors_origins: str = Field(default="", validation_alias="CORS_ORIGINS")
    max_upload_bytes: int = 2 * GIB
    max_files_per_upload: int = 200
    answer_timeout_seconds: float = 300.0

    @property
    def cors_origin_list(self) -> list[str]:
        """`CORS_ORIGINS` as a list: either JSON or separated by commas."""
        text = self.cors_origins.strip()
        if text.startswith("["):
            return [str(origin) for origin in json.loads(text)]
        return [origin.strip() for origin in text.split(",") if origin.strip()]
