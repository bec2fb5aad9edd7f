"""`python -m docutalk_gateway`: the HTTP edge as a process."""

from __future__ import annotations

from docutalk_common.process import run_service

from docutalk_gateway.app import builder
from docutalk_gateway.settings import GatewaySettings

if __name__ == "__main__":
    settings = GatewaySettings()  # type: ignore[call-arg]  # the environment has them
    run_service("gateway", settings, builder(settings))
