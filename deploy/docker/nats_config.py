"""Writes `nats.conf`: the rights of every service's user at NATS, as the table of streams gives them.

Run it after a change of streams, durables or requests; a test fails while the file differs. Passwords are not in it: the
server takes them from its environment.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from docutalk_common.messaging.streams import SERVICES
from docutalk_common.messaging.topology import OPERATOR, server_config

TARGET = Path(__file__).with_name("nats.conf")


def render() -> str:
    """The configuration; `$NAME` stands for a variable of the server's environment."""
    users = {user: f"$DOCUTALK_NATS_PASSWORD_{user.upper()}" for user in (OPERATOR, *SERVICES)}
    config = json.loads(server_config(users, host="0.0.0.0", port=4222, store_dir="/data"))  # noqa: S104 - a container
    # For the health check inside the container alone: it shows every connection and its user.
    config["http"] = "127.0.0.1:8222"
    # In quotes the server would take the variable's name for the password.
    text = re.sub(r'"(\$DOCUTALK_NATS_PASSWORD_[A-Z]+)"', r"\1", json.dumps(config, indent=2))
    return f"# Written by deploy/docker/nats_config.py; a change belongs into the table of streams.\n{text}\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
