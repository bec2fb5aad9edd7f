"""`python -m docutalk_embed`: settings come from the environment."""

from __future__ import annotations

from docutalk_common.process import run_service

from docutalk_embed.app import embed
from docutalk_embed.settings import EmbedSettings


def main() -> None:
    """Runs until SIGTERM."""
    settings = EmbedSettings()  # type: ignore[call-arg]  # the environment has them
    run_service("embed", settings, lambda runtime: embed(settings, runtime))


if __name__ == "__main__":
    main()
