"""One user at MinIO for each service, with no more rights than the service uses, made through MinIO's own admin interface.

Other S3 servers have other ways: there, make the users by hand and leave this out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin

from docutalk_common.messaging.streams import SERVICES

# The gateway writes what is uploaded and ingest reads and deletes it; the others only look whether the storage is there.
_WRITERS = ("gateway", "ingest")


def policy(service: str, bucket: str) -> dict[str, Any]:
    """The S3 policy document of a service."""
    on_bucket = ["s3:ListBucket", "s3:GetBucketLocation"]
    statements = [{"Effect": "Allow", "Action": on_bucket, "Resource": [f"arn:aws:s3:::{bucket}"]}]
    if service in _WRITERS:
        on_bucket.append("s3:ListBucketMultipartUploads")
        on_objects = [
            "s3:GetObject",
            "s3:PutObject",
            "s3:DeleteObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        ]
        statements.append({"Effect": "Allow", "Action": on_objects, "Resource": [f"arn:aws:s3:::{bucket}/*"]})
    return {"Version": "2012-10-17", "Statement": statements}


async def provision_storage_users(
    endpoint: str,
    *,
    access_key: str,
    secret_key: str,
    users: Mapping[str, str],
    bucket: str,
    region: str = "us-east-1",
    secure: bool = False,
) -> None:
    """Each service's user, named like the service, with its secret key from `users`. May be run again, also with new keys.

    `access_key` is MinIO's root user. Raises KeyError when a service's key is missing, and minio's errors as they are.
    """
    wanted = {service: users[service] for service in SERVICES}
    admin = MinioAdmin(endpoint=endpoint, credentials=StaticProvider(access_key, secret_key), region=region, secure=secure)

    def make() -> None:
        for service, key in wanted.items():
            admin.policy_add(f"docutalk-{service}", policy=policy(service, bucket))
            admin.user_add(service, key)
            admin.policy_set(f"docutalk-{service}", user=service)

    await asyncio.to_thread(make)
