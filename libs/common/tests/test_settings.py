"""What a service reads from its environment."""

from __future__ import annotations

import pytest
from docutalk_common.settings import ServiceSettings
from pydantic import ValidationError


def test_setting_that_is_missing_or_wrong_is_named_without_the_values_of_others() -> None:
    environment = {
        "DOCUTALK_POSTGRES_DSN": "postgresql://a:sesame@h/d",
        "DOCUTALK_S3_SECRET_KEY": "sesame",
        "DOCUTALK_PROBE_PORT": "sesame",
    }
    with pytest.raises(ValidationError) as raised:
        ServiceSettings.from_environment(environment)
    assert "nats_password" in str(raised.value)
    assert "sesame" not in str(raised.value)
