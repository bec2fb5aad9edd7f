"""Canaille, an OpenID provider that people run, in a process of its own: `python canaille_server.py <client as JSON>`.

It writes its port. Each line that it reads after that is a JSON object, and answered with a line: `{"person": {…}}` lets somebody
sign in there, `{"rotate": true}` makes it sign with a new key and forget the old one.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from canaille.backends.memory.backend import MemoryBackend
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

SETTINGS = {
    "SECRET_KEY": "only for tests",
    "PREFERRED_URL_SCHEME": "http",
    "CANAILLE": {"DATABASE": "memory", "SMTP": None, "JAVASCRIPT": False, "HTMX": False},
    "CANAILLE_OIDC": {"TRUSTED_DOMAINS": []},
}
# Canaille knows no unverified addresses. Here those are that somebody calls so.
VERIFIED = "{{ 'false' if user.title == 'unverified' else 'true' }}"


class _Memory(MemoryBackend):
    """Keeps all in memory. As it comes, it finds what fits any condition of a query: somebody else's code, if more are open."""

    # Canaille looks there for what can be stored.
    __module__ = MemoryBackend.__module__

    def do_query(self, model: Any, *_: Any, **conditions: Any) -> list[Any]:
        """What fits all of them."""
        found = {one.id: one for one in super().do_query(model)}
        for name, value in conditions.items():
            fitting = {one.id for one in super().do_query(model, **{name: value})}
            found = {key: one for key, one in found.items() if key in fitting}
        return list(found.values())


def _new_key() -> dict[str, Any]:
    return dict(RSAKey.generate_key(2048, auto_kid=True).as_dict(private=True))


def _command(app: Any, command: dict[str, Any]) -> None:
    if command.get("rotate"):
        app.config["CANAILLE_OIDC"]["ACTIVE_JWKS"] = [_new_key()]
    else:
        with app.app_context():
            Backend.instance.save(models.User(family_name="Test", **command["person"]))


def main(registered: dict[str, Any]) -> None:
    """Serves until its standard input ends."""
    app = create_app(SETTINGS, backend=_Memory(SETTINGS))
    app.config["CANAILLE_OIDC"]["ACTIVE_JWKS"] = [_new_key()]
    app.config["CANAILLE_OIDC"]["USERINFO_MAPPING"]["EMAIL_VERIFIED"] = VERIFIED
    with app.app_context():
        client = models.Client(
            **registered,
            grant_types=["authorization_code"],
            response_types=["code"],
            scope=["openid", "email", "profile"],
            token_endpoint_auth_method="client_secret_basic",
        )
        Backend.instance.save(client)
        client.audience = [client]
        Backend.instance.save(client)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _answer(str(server.server_port))
    for line in sys.stdin:
        _command(app, json.loads(line))
        _answer("done")


def _answer(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
