"""Settings that every service reads. Everything comes from the environment; a secret may also come from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


class FileSource(PydanticBaseSettingsSource):
    """Reads `<NAME>_FILE`: the value of a setting is the content of that file, as container secrets are mounted."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        prefix = str(self.config.get("env_prefix", ""))
        alias = field.validation_alias if isinstance(field.validation_alias, str) else None
        path = os.environ.get(f"{(alias or prefix + field_name).upper()}_FILE")
        if not path:
            return None, field_name, False
        return Path(path).read_text(encoding="utf-8").strip(), alias or field_name, False

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                found[key] = value
        return found


class ServiceSettings(BaseSettings):
    """The environment of one service. Each has its own role in PostgreSQL and its own user at NATS."""

    # An error about one setting would show the others with it, passwords too, and it goes into the log.
    model_config = SettingsConfigDict(env_prefix="DOCUTALK_", extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    postgres_dsn: SecretStr
    postgres_pool_size: int = 10
    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str
    nats_password: SecretStr
    s3_endpoint: str = "127.0.0.1:9000"
    s3_access_key: str
    s3_secret_key: SecretStr
    s3_bucket: str = "docutalk"
    s3_region: str = "us-east-1"
    s3_secure: bool = False
    probe_host: str = "127.0.0.1"
    probe_port: int = 0
    log_format: Literal["json", "text"] = "json"
    log_level: str = "INFO"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Settings from a mapping instead of this process's environment; nothing else is read."""
        found: dict[str, Any] = {}
        for name, field in cls.model_fields.items():
            alias = field.validation_alias if isinstance(field.validation_alias, str) else f"DOCUTALK_{name}".upper()
            if alias in environment:
                found[name] = environment[alias]
        return cls(**found)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, FileSource(settings_cls)
