"""The job of a deployment that makes the servers ready before the services start, from its environment alone.

`python -m docutalk_common.provisioning_job [--update]`; `docutalk provision` is the same. It may be run again at any time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from docutalk_common.errors import DocuTalkError
from docutalk_common.messaging.streams import SERVICES
from docutalk_common.messaging.topology import TopologyDrift
from docutalk_common.provisioning import ROLES, provision_bucket, provision_messaging, provision_postgres
from docutalk_common.storage_users import provision_storage_users

_NEEDED = (
    "DOCUTALK_POSTGRES_SUPERUSER_DSN",
    "DOCUTALK_NATS_URL",
    "DOCUTALK_NATS_OPERATOR_PASSWORD",
    "DOCUTALK_S3_ENDPOINT",
    "DOCUTALK_S3_ACCESS_KEY",
    "DOCUTALK_S3_SECRET_KEY",
)


class SettingsMissing(DocuTalkError):
    """The environment lacks settings; the message names all of them."""

    code = "settings_missing"

    def __init__(self, names: list[str]) -> None:
        super().__init__("Not set: " + ", ".join(names))
        self.names = names


def password_setting(role: str) -> str:
    """The name of the setting with a PostgreSQL role's password."""
    return f"DOCUTALK_POSTGRES_PASSWORD_{role.upper()}"


def storage_key_setting(service: str) -> str:
    """The name of the setting with the secret key of a service's user at MinIO."""
    return f"DOCUTALK_S3_SECRET_KEY_{service.upper()}"


async def provision_from(environment: Mapping[str, str], *, update: bool = False) -> None:
    """Roles, schemas, migrations, streams, durables and the bucket. `update` changes streams that differ.

    Every setting may also be given as a file, `<NAME>_FILE`. When the secret keys of the services are set, their users are
    made at MinIO too; with none of them set, the S3 server's users are somebody else's business.
    Raises `SettingsMissing`, `TopologyDrift`, and the servers' own errors.
    """

    def value(name: str, default: str = "") -> str:
        path = environment.get(f"{name}_FILE")
        return Path(path).read_text(encoding="utf-8").strip() if path else environment.get(name, default)

    keys: dict[str, str] = {service: value(storage_key_setting(service)) for service in SERVICES}
    needed = [*_NEEDED, *map(password_setting, ROLES)]
    if any(keys.values()):
        needed += map(storage_key_setting, SERVICES)
    missing = [name for name in needed if not value(name)]
    if missing:
        raise SettingsMissing(missing)

    await provision_postgres(
        value("DOCUTALK_POSTGRES_SUPERUSER_DSN"),
        {role: value(password_setting(role)) for role in ROLES},
        database=value("DOCUTALK_POSTGRES_DATABASE", "docutalk"),
    )
    await provision_messaging(
        value("DOCUTALK_NATS_URL"),
        user=value("DOCUTALK_NATS_OPERATOR", "operator"),
        password=value("DOCUTALK_NATS_OPERATOR_PASSWORD"),
        update=update,
    )
    endpoint, bucket = value("DOCUTALK_S3_ENDPOINT"), value("DOCUTALK_S3_BUCKET", "docutalk")
    access_key, secret_key = value("DOCUTALK_S3_ACCESS_KEY"), value("DOCUTALK_S3_SECRET_KEY")
    region = value("DOCUTALK_S3_REGION", "us-east-1")
    secure = value("DOCUTALK_S3_SECURE", "false").lower() in ("1", "true", "yes")
    await provision_bucket(endpoint, access_key=access_key, secret_key=secret_key, bucket=bucket, region=region, secure=secure)
    if any(keys.values()):
        await provision_storage_users(
            endpoint, access_key=access_key, secret_key=secret_key, users=keys, bucket=bucket, region=region, secure=secure
        )


def main() -> int:
    """Exit code 1 when settings are missing or the streams differ."""
    parser = argparse.ArgumentParser(prog="python -m docutalk_common.provisioning_job", description=__doc__)
    parser.add_argument("--update", action="store_true", help="change streams and durables that differ")
    try:
        asyncio.run(provision_from(os.environ, update=parser.parse_args().update))
    except TopologyDrift as drift:
        sys.stderr.write(f"{drift}\nRun it with --update to change the server.\n")
        return 1
    except SettingsMissing as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("PostgreSQL, NATS and object storage are ready for: " + ", ".join(SERVICES) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
