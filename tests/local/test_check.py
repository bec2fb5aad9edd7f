"""`docutalk check` names what is missing or wrong, and says nothing is when nothing is."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from docutalk_cli.commands.check import of_service
from docutalk_common.messaging.streams import SERVICES, ServiceName
from docutalk_common.provisioning import ROLES
from docutalk_local.children import base_environment
from docutalk_local.ports import free_port
from docutalk_local.testing import TestStack

DOCUTALK = str(Path(sys.executable).parent / "docutalk")
ROOT = Path(__file__).parents[2]


async def check(folder: Path, *arguments: str, **settings: str) -> tuple[int | None, dict[str, Any]]:
    """Exit code, and the message of each finding that isn't fine."""
    process = await asyncio.create_subprocess_exec(
        DOCUTALK,
        "check",
        "--json",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env=base_environment() | {"DOCUTALK_HOME": str(folder), "DOCUTALK_PORT": str(free_port())} | settings,
        cwd=folder,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    findings = json.loads(output)
    assert findings["ok"] == (process.returncode == 0)
    return process.returncode, {f["subject"]: f["message"] for f in findings["findings"] if not f["ok"]}


async def test_a_machine_without_any_setting_is_fine(tmp_path: Path) -> None:
    assert await check(tmp_path) == (0, {})


WRONG = [
    ("DOCUTALK_PORT", "eighty", "not a port"),
    ("DOCUTALK_ADMIN_EMAIL", "admin", "not an address"),
    ("DOCUTALK_ADMIN_PASSWORD", "short", "shorter than 8"),
    ("DOCUTALK_LLM_BASE_URL", "localhost:11434", "not an address like"),
    ("DOCUTALK_EMBED_ENDPOINT_URL", "http://me:secret@[::1", "'http://…@[::1' is not an address like"),
    ("DOCUTALK_EMBED_MODELS_FOLDER", "/nowhere", "no folder that can be read"),
    ("DOCUTALK_LOG_FORMAT", "xml", "'json' or 'text'"),
    ("DOCUTALK_MAX_UPLOAD_BYTES", "2 GB", "integer"),
    ("DOCUTALK_EMBED_PRECISION", "int4", "bf16"),
    ("USERS_OPEN_REGISTRATION", "maybe", "boolean"),
    ("DOCUTALK_ADMIN_PASWORD", "spelt wrongly", "DOCUTALK_ADMIN_PASSWORD was probably meant"),
    ("DOCUTALK_LLM_API_KEY_FILE", "/nowhere", "can't read"),
]


async def test_every_wrong_setting_is_named_at_once_and_no_other(tmp_path: Path) -> None:
    code, wrong = await check(tmp_path, **{name: value for name, value, _ in WRONG})
    assert code == 1
    assert set(wrong) == {name for name, _, _ in WRONG}
    for name, _, said in WRONG:
        assert said in wrong[name]


async def test_a_key_without_an_address_is_named(tmp_path: Path) -> None:
    code, wrong = await check(tmp_path, DOCUTALK_EMBED_ENDPOINT_API_KEY="secret")
    assert (code, list(wrong)) == (1, ["DOCUTALK_EMBED_ENDPOINT_URL"])
    assert "DOCUTALK_EMBED_ENDPOINT_API_KEY is" in wrong["DOCUTALK_EMBED_ENDPOINT_URL"]


async def test_a_provider_without_its_key_is_named(tmp_path: Path) -> None:
    code, wrong = await check(tmp_path, DOCUTALK_LLM_PROVIDER="anthropic", OPENAI_API_KEY="secret")
    assert (code, list(wrong)) == (1, ["ANTHROPIC_API_KEY"])
    assert await check(tmp_path, DOCUTALK_LLM_PROVIDER="anthropic", DOCUTALK_LLM_API_KEY="secret") == (0, {})


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        port = other.getsockname()[1]
        code, wrong = await check(tmp_path, DOCUTALK_PORT=str(port))
    assert code == 1
    assert f"port {port} is in use" in wrong["DOCUTALK_PORT"]


async def test_a_home_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, wrong = await check(tmp_path, DOCUTALK_HOME=str(tmp_path / "file" / "home"))
    assert code == 1
    assert "can't write" in wrong["DOCUTALK_HOME"]


@pytest.mark.parametrize("service", SERVICES)
async def test_every_missing_setting_of_a_service_is_named(tmp_path: Path, service: ServiceName) -> None:
    code, wrong = await check(tmp_path, "--service", service)
    assert code == 1
    needed = {"DOCUTALK_POSTGRES_DSN", "DOCUTALK_NATS_USER", "DOCUTALK_NATS_PASSWORD"}
    needed |= {"DOCUTALK_S3_ACCESS_KEY", "DOCUTALK_S3_SECRET_KEY"}
    needed |= {"DOCUTALK_JWT_SECRET"} if service == "gateway" else set()
    assert set(wrong) == needed
    assert set(wrong.values()) == {"not set"}


@pytest.mark.parametrize("service", SERVICES)
async def test_the_environment_that_a_service_is_started_with_is_fine(
    stack: TestStack, tmp_path: Path, service: ServiceName
) -> None:
    settings = stack.service_environment(service) | {"DOCUTALK_JWT_SECRET": "s" * 32}
    assert await check(tmp_path, "--service", service, **settings) == (0, {})


def test_the_example_file_lists_every_setting_that_something_reads() -> None:
    listed = set(re.findall(r"^(?:# )?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    read = {finding.subject for service in SERVICES for finding in of_service(service)}
    provision = {f"DOCUTALK_POSTGRES_PASSWORD_{role.upper()}" for role in ROLES}
    assert read | provision | {"DOCUTALK_HOME", "DOCUTALK_POSTGRES_SUPERUSER_DSN"} <= listed


async def test_the_example_file_as_it_is_makes_settings_that_are_fine(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    assert await check(tmp_path) == (0, {})
