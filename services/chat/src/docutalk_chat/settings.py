"""Chat's settings: those of every service, and which model answers."""

from __future__ import annotations

from typing import Literal

from docutalk_common.llm import Endpoint
from docutalk_common.settings import ServiceSettings
from pydantic import Field, SecretStr, ValidationInfo, field_validator


class Settings(ServiceSettings):
    """`llm_provider` `auto` takes what the other settings name, else an Ollama that runs at `OLLAMA_HOST`; `none` leaves answers
    to the extractive answerer, whatever keys there are. A setting that is present but empty counts as absent, as compose files
    write them."""

    llm_provider: Literal["auto", "openai", "anthropic", "ollama", "none"] = "auto"
    llm_base_url: str | None = None
    llm_model: str | None = None
    llm_api_key: SecretStr | None = None
    llm_context_tokens: int | None = Field(default=None, ge=1024)
    llm_answer_seconds: float = Field(default=1800.0, gt=0)
    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")
    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")
    ollama_host: str | None = Field(default=None, validation_alias="OLLAMA_HOST")

    @field_validator("llm_provider", "llm_context_tokens", "llm_answer_seconds", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object, info: ValidationInfo) -> object:
        return cls.model_fields[str(info.field_name)].default if value == "" else value

    @property
    def may_use_ollama(self) -> bool:
        """Whether an Ollama that runs here may be used without being named."""
        return self.llm_provider in {"auto", "ollama"}

    def model_endpoint(self) -> Endpoint | None:
        """Where the language model is, or None."""
        if self.llm_provider == "none":
            return None
        return Endpoint.choose(
            provider=None if self.llm_provider == "auto" else self.llm_provider,
            base_url=self.llm_base_url or None,
            model=self.llm_model or None,
            api_key=_value(self.llm_api_key),
            openai_api_key=_value(self.openai_api_key),
            anthropic_api_key=_value(self.anthropic_api_key),
            context_tokens=self.llm_context_tokens,
        )


def _value(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() or None if secret is not None else None
