"""The job that a deployment runs before its services: from the environment alone, as often as one likes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from docutalk_common.messaging.streams import SERVICES
from docutalk_common.provisioning import ROLES
from docutalk_common.provisioning_job import password_setting
from docutalk_common.storage_users import policy
from docutalk_local.home import OPERATOR
from docutalk_local.testing import TestStack


async def run(environment: dict[str, str], *arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "docutalk_common.provisioning_job", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def environment(stack: TestStack) -> dict[str, str]:
    """What the job needs, except for the services' users at MinIO: not every S3 server has its admin interface."""
    servers, secrets = stack.backend.servers, stack.backend.secrets
    keys = secrets.storage_keys(OPERATOR)
    return {
        "DOCUTALK_POSTGRES_SUPERUSER_DSN": servers.superuser_dsn,
        **{password_setting(role): secrets.postgres[role] for role in ROLES},
        "DOCUTALK_NATS_URL": servers.nats_url,
        "DOCUTALK_NATS_OPERATOR_PASSWORD": secrets.nats[OPERATOR],
        "DOCUTALK_S3_ENDPOINT": servers.s3_endpoint,
        "DOCUTALK_S3_ACCESS_KEY": keys.access_key,
        "DOCUTALK_S3_SECRET_KEY": keys.secret_key,
        "DOCUTALK_S3_BUCKET": stack.bucket,
    }


async def test_job_may_run_again_on_servers_that_are_ready(environment: dict[str, str]) -> None:
    code, out, err = await run(environment)
    assert (code, err) == (0, "")
    assert ", ".join(SERVICES) in out


async def test_job_takes_secrets_from_files(environment: dict[str, str], tmp_path: Path) -> None:
    for name in ("DOCUTALK_POSTGRES_SUPERUSER_DSN", "DOCUTALK_NATS_OPERATOR_PASSWORD", "DOCUTALK_S3_SECRET_KEY"):
        (tmp_path / name).write_text(environment.pop(name) + "\n", encoding="utf-8")
        environment[f"{name}_FILE"] = str(tmp_path / name)
    code, _, err = await run(environment)
    assert (code, err) == (0, "")


async def test_job_names_every_setting_that_is_missing(environment: dict[str, str]) -> None:
    del environment["DOCUTALK_NATS_URL"], environment["DOCUTALK_POSTGRES_PASSWORD_CHAT_OWNER"]
    # With one of the services' keys at MinIO, all are wanted.
    environment["DOCUTALK_S3_SECRET_KEY_EMBED"] = "k" * 20
    code, out, err = await run(environment)
    assert (code, out) == (1, "")
    missing = {"DOCUTALK_NATS_URL", "DOCUTALK_POSTGRES_PASSWORD_CHAT_OWNER"}
    missing |= {f"DOCUTALK_S3_SECRET_KEY_{name}" for name in ("GATEWAY", "INGEST", "CHAT")}
    assert set(err.removeprefix("Not set: ").strip().split(", ")) == missing


@pytest.mark.parametrize(("service", "may"), [("gateway", True), ("ingest", True), ("embed", False), ("chat", False)])
def test_only_who_handles_files_may_touch_objects(service: str, may: bool) -> None:
    allowed = {(action, arn) for s in policy(service, "b")["Statement"] for action in s["Action"] for arn in s["Resource"]}
    assert (("s3:PutObject", "arn:aws:s3:::b/*") in allowed) is may
    assert (("s3:GetObject", "arn:aws:s3:::b/*") in allowed) is may
    assert ("s3:ListBucket", "arn:aws:s3:::b") in allowed
    assert not {action for action, _ in allowed if "*" in action or "Policy" in action or action == "s3:DeleteBucket"}
