"""Chat's settings: those of every service, and which model answers."""

from __future__ import annotations

from docutalk_common.llm import Endpoint
from docutalk_common.settings import ServiceSettings
from pydantic import Field, SecretStr


class Settings(ServiceSettings):
    """Without any of the `llm_*` settings and keys the extractive answerer answers."""

    llm_base_url: str | None = None
    llm_model: str | None = None
    llm_api_key: SecretStr | None = None
    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")
    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")

    def model_endpoint(self) -> Endpoint | None:
        """Where the language model is, or None. A setting that is present but empty counts as absent, as compose files
        write them."""
        return Endpoint.choose(
            base_url=self.llm_base_url or None,
            model=self.llm_model or None,
            api_key=_value(self.llm_api_key),
            openai_api_key=_value(self.openai_api_key),
            anthropic_api_key=_value(self.anthropic_api_key),
        )


def _value(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() or None if secret is not None else None
