"""The API's calls about accounts, workspaces, share links and archives, as the server of `conftest.py` answers them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

Json = dict[str, Any]

AT, LATER = "2026-01-02T03:04:05Z", "2026-02-03T04:05:06Z"
MINE, TEAM = "01890000-0000-7000-8000-000000000001", "01890000-0000-7000-8000-000000000002"
ADA, BOB = "01890000-0000-7000-8000-0000000000a1", "01900000-0000-7000-8000-0000000000b2"
TOKEN = "tok-abcdefghijklmnopqrstuvwxyz"


def a_workspace(id_: str, name: str, **changes: Any) -> Json:
    """A workspace as the API shows it."""
    workspace = {"id": id_, "name": name, "description": None, "system_prompt": None, "role": "owner", "archived_at": None}
    return workspace | {"created_at": AT, "updated_at": AT} | changes


def a_member(user_id: str, email: str, role: str, name: str | None = None) -> Json:
    """A member as the API shows them."""
    return {"user_id": user_id, "email": email, "display_name": name, "role": role, "created_at": AT}


def an_account(id_: str, email: str, **changes: Any) -> Json:
    """An account as administrators see it."""
    account = {"id": id_, "email": email, "display_name": None, "is_admin": False, "disabled": False, "has_password": True}
    return account | {"created_at": AT} | changes


def a_sign_in(id_: str, device: str, **changes: Any) -> Json:
    """A sign-in as the API shows it."""
    sign_in = {"id": id_, "device": device, "user_agent": device, "address": "192.0.2.7", "method": "password"}
    return sign_in | {"created_at": AT, "last_used_at": AT, "expires_at": LATER, "current": False} | changes


def an_invitation(id_: str = ADA, **changes: Any) -> Json:
    """An invitation as the API shows it."""
    return {"id": id_, "email": None, "role": None, "invited_by": ADA, "created_at": AT, "expires_at": LATER} | changes


def a_share(id_: str = ADA, **changes: Any) -> Json:
    """A link as the API shows it."""
    share = {"id": id_, "name": None, "hint": TOKEN[:8], "target": {"kind": "workspace", "id": MINE}, "permissions": ["view"]}
    share |= {"state": "active", "has_password": False, "uses": 0, "max_uses": None, "created_by": ADA, "created_at": AT}
    return share | {"expires_at": None, "revoked_at": None} | changes


def an_erasure(id_: str = BOB, **changes: Any) -> Json:
    """An erasure that is complete."""
    receipts = [{"service": "gateway", "removed": {"members": 2, "stored_answers": 0}}, {"service": "ingest", "removed": {}}]
    erasure = {"id": id_, "kind": "workspace", "status": "complete", "requested_at": AT, "completed_at": LATER}
    return erasure | {"receipts": receipts, "waiting_for": [], "children": []} | changes


def an_import(**changes: Any) -> Json:
    """An import that was just accepted."""
    progress = {"done": 0, "total": None}
    import_ = {"id": BOB, "status": "queued", "name": None, "size": 1, "progress": progress, "workspace_id": None}
    return import_ | {"remapped": None, "reason": None, "created_at": AT, "finished_at": None} | changes


def a_managed_workspace(id_: str, **changes: Any) -> Json:
    """A workspace as administrators see it."""
    limits = {"max_documents": None, "max_bytes": None, "max_questions_per_day": None}
    workspace = {"id": id_, "created_at": AT, "archived_at": None, "owner_ids": [ADA], "members": 2, "uploaded_documents": 3}
    return workspace | {"uploaded_bytes": 4_500_000, "own_limits": dict(limits), "limits": dict(limits)} | changes


def an_archive(name: str = "Mine", *, files: int = 1) -> bytes:
    """An archive that is whole."""
    counts = {"documents": files, "files": files, "sources": 0, "sessions": 2, "messages": 4}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(files):
            archive.writestr(zipfile.ZipInfo(f"files/{number}"), b"x" * 1000)
        archive.writestr(zipfile.ZipInfo("manifest.json"), json.dumps({"workspace": {"name": name}, "counts": counts}))
    return packed.getvalue()


def _changed(item: Json, changes: Json) -> Json:
    """The links' settings are shown by other names than they are set by."""
    known = dict(changes)
    if "password" in known:
        known["has_password"] = known.pop("password") is not None
    item |= known
    return item


@dataclass
class Accounts:
    """What the server knows of people and workspaces."""

    url: Callable[[], str]
    tokens: Callable[[], Json]
    me: Json = field(default_factory=dict)
    workspaces: list[Json] = field(default_factory=lambda: [a_workspace(MINE, "Mine"), a_workspace(TEAM, "Team", role="viewer")])
    members: list[Json] = field(
        default_factory=lambda: [
            a_member(ADA, "ada@example.com", "owner", "Ada"),
            a_member(BOB, "bob@example.com", "viewer"),
        ]
    )
    sign_ins: list[Json] = field(
        default_factory=lambda: [a_sign_in(ADA, "docutalk-cli", current=True), a_sign_in(BOB, "Firefox on Linux", address=None)]
    )
    users: list[Json] = field(
        default_factory=lambda: [
            an_account(ADA, "ada@example.com", is_admin=True, display_name="Ada"),
            an_account(BOB, "bob@example.com", disabled=True),
        ]
    )
    invitations: list[Json] = field(default_factory=list)
    invited: Json = field(
        default_factory=lambda: {
            "invited_by": "Ada",
            "workspace": "Team",
            "role": "editor",
            "email": "bob@example.com",
            "expires_at": LATER,
        }
    )
    signing_keys: list[Json] = field(default_factory=lambda: [{"id": "k2", "created_at": LATER, "retires_at": None}])
    shares: list[Json] = field(default_factory=list)
    accesses: list[Json] = field(default_factory=list)
    link_password: str | None = None
    visit_target: Json = field(default_factory=lambda: {"kind": "document", "id": ADA})
    quotas: list[Json] = field(default_factory=lambda: [a_managed_workspace(MINE), a_managed_workspace(BOB)])
    entries: list[Json] = field(default_factory=list)
    erasures: list[Json] = field(default_factory=lambda: [an_erasure()])
    """What the erasure is at each further look, the last one for ever."""
    children: dict[str, Json] = field(default_factory=dict)
    archive: bytes = field(default_factory=an_archive)
    archive_ends_at: int | None = None
    """After so many bytes the connection breaks."""
    imported: list[bytes] = field(default_factory=list)
    import_troubles: list[int] = field(default_factory=list)
    """Statuses for the next archives that are sent."""
    imports: list[Json] = field(default_factory=lambda: [an_import()])
    """What the import is at each further look, the last one for ever."""
    openid: str | None = None
    challenge: str = ""
    provider_page: str | None = None
    """With it the provider shows this page and lets nobody in."""
    queries: list[Json] = field(default_factory=list)

    def public(self, request: Request, parts: list[str], body: Json) -> Response | None:
        """What needs no sign-in; None for everything else."""
        match parts:
            case ["auth", "register"]:
                self.me |= {"email": body["email"], "display_name": body.get("display_name")}
                return JSONResponse(self.me, 201)
            case ["auth", "reset"]:
                return Response(status_code=204)
            case ["auth", "options"]:
                return JSONResponse({"registration": "closed", "password": True, "openid": self.openid})
            case ["auth", "openid"]:
                return self._provider(request)
            case ["auth", "openid", "token"]:
                return self._exchange(body)
            case ["invited", token]:
                return JSONResponse(self.invited) if token == TOKEN else problem(404, "This invitation is not valid (any more).")
            case ["shared", token] | ["shared", token, "open"] if token != TOKEN:
                return problem(404, "There is no such link, or it has ended.")
            case ["shared", _]:
                name = None if self.link_password else "report.pdf"
                target = {"kind": self.visit_target["kind"], "name": name}
                shown = {"target": target, "permissions": ["view", "search"], "expires_at": None}
                return JSONResponse(shown | {"needs_password": self.link_password is not None})
            case ["shared", _, "open"]:
                return self._visit(body)
            case ["erasures", id_]:
                if id_ in self.children:
                    return JSONResponse(self.children[id_])
                return JSONResponse(self.erasures.pop(0) if len(self.erasures) > 1 else self.erasures[0])
        return None

    def _provider(self, request: Request) -> Response:
        if self.provider_page is not None:
            return Response(self.provider_page, media_type="text/html")
        self.challenge = request.query_params["code_challenge"]
        return RedirectResponse(f"{request.query_params['return_to']}?code=good-code", 302)

    def _exchange(self, body: Json) -> Response:
        digest = hashlib.sha256(body["code_verifier"].encode()).digest()
        fits = base64.urlsafe_b64encode(digest).decode().rstrip("=") == self.challenge
        return JSONResponse(self.tokens()) if fits and body["code"] == "good-code" else problem(401, "This code is not valid.")

    def _visit(self, body: Json) -> Response:
        if self.link_password is not None and body.get("password") != self.link_password:
            return problem(403, "The password of this link is another one.")
        visit = {"access_token": self.tokens()["access_token"], "token_type": "bearer", "expires_in": 3600, "visit_id": BOB}
        return JSONResponse(visit | {"workspace_id": MINE, "target": self.visit_target, "permissions": ["view", "search"]})

    async def answer(self, request: Request, parts: list[str], body: Json) -> Response | None:
        """What a signed-in caller is answered; None when it is about something else."""
        method = request.method
        if request.query_params:
            self.queries.append(dict(request.query_params))
        match parts:
            case ["users", "me"] if method == "DELETE":
                return JSONResponse(self.erasures[0], 202)
            case ["users", "me"]:
                self.me |= {name: value for name, value in body.items() if name != "current_password"}
                return JSONResponse(self.me)
            case ["users", "me", "password"]:
                return Response(status_code=204)
            case ["users", "me", "sessions", *rest]:
                return self._listed("sign_ins", method, rest)
            case ["invited", _, "accept"]:
                return JSONResponse(a_workspace(TEAM, "Team", role=self.invited["role"]))
            case ["admin", *rest]:
                return self._admin(method, rest, body)
            case ["imports", *rest]:
                return await self._imports(request, rest)
            case ["workspaces"] if method == "POST":
                self.workspaces.append(a_workspace(BOB, **body))
                return JSONResponse(self.workspaces[-1], 201)
            case ["workspaces"]:
                return listing(self.workspaces)
            case ["workspaces", id_, *rest]:
                return self._workspace(method, next((w for w in self.workspaces if w["id"] == id_), None), rest, body)
        return None

    def _workspace(self, method: str, workspace: Json | None, parts: list[str], body: Json) -> Response | None:
        match parts:
            case [] if workspace is None:
                return problem(404, "There is no such workspace.")
            case [] if method == "DELETE":
                return JSONResponse(self.erasures[0], 202)
            case []:
                return JSONResponse((workspace or {}) | body)
            case ["archive" | "restore" as step]:
                return JSONResponse((workspace or {}) | {"archived_at": AT if step == "archive" else None})
            case ["owner"]:
                return JSONResponse((workspace or {}) | {"role": "editor"})
            case ["usage"]:
                limits = {"max_documents": 5, "max_bytes": None, "max_questions_per_day": 1000}
                held = {"documents": 4, "bytes": 12_000_000, "pages": 1234, "sources": 1, "questions_today": 7, "members": 2}
                return JSONResponse(held | {"limits": limits})
            case ["members"]:
                return listing(self.members)
            case ["members", id_]:
                found = next(member for member in self.members if member["user_id"] == id_)
                if method == "DELETE":
                    self.members.remove(found)
                    return Response(status_code=204)
                return JSONResponse(_changed(found, body))
            case ["invitations", *rest]:
                return self._invited(method, rest, body)
            case ["shares", id_, "accesses"]:
                return listing(self.accesses)
            case ["shares"] if method == "POST":
                target = {"id": MINE} | body["target"]
                self.shares.append(_changed(a_share(), body) | {"target": target})
                created = self.shares[-1] | {"token": TOKEN, "link": f"{self.url()}/api/v1/shared/{TOKEN}"}
                return JSONResponse(created, 201)
            case ["shares", *rest]:
                return self._listed("shares", method, rest, body)
            case ["audit-log"]:
                return listing(self.entries)
            case ["export"]:
                return self._export()
        return None

    def _admin(self, method: str, parts: list[str], body: Json) -> Response | None:
        match parts:
            case ["users", _, "password-reset"]:
                link = f"{self.url()}/api/v1/auth/reset#token={TOKEN}"
                return JSONResponse({"token": TOKEN, "link": link, "expires_at": LATER}, 201)
            case ["users", _] if method == "DELETE":
                return JSONResponse(self.erasures[0], 202)
            case ["users", *rest]:
                return self._listed("users", method, rest, body)
            case ["invitations", *rest]:
                return self._invited(method, rest, body)
            case ["workspaces", id_]:
                found = next(workspace for workspace in self.quotas if workspace["id"] == id_)
                found |= {"own_limits": found["own_limits"] | body, "limits": found["limits"] | body}
                return JSONResponse(found)
            case ["workspaces"]:
                return listing(self.quotas)
            case ["signing-keys"] if method == "POST":
                self.signing_keys.insert(0, {"id": "k3", "created_at": LATER, "retires_at": None})
                return JSONResponse(self.signing_keys[0], 201)
            case ["signing-keys"]:
                return listing(self.signing_keys)
            case ["audit-log"]:
                return listing([entry | {"address": "192.0.2.7", "user_agent": None} for entry in self.entries])
        return None

    def _invited(self, method: str, parts: list[str], body: Json) -> Response:
        if method != "POST":
            return self._listed("invitations", method, parts)
        self.invitations.append(an_invitation(email=body.get("email"), role=body.get("role")))
        link = f"{self.url()}/api/v1/invited/{TOKEN}"
        return JSONResponse(self.invitations[-1] | {"token": TOKEN, "link": link}, 201)

    def _listed(self, name: str, method: str, parts: list[str], body: Json | None = None) -> Response:
        items: list[Json] = getattr(self, name)
        if method == "GET" and not parts:
            return listing(items)
        if method == "DELETE":
            setattr(self, name, [item for item in items if parts and item["id"] != parts[0]])
            return Response(status_code=204)
        found = next((item for item in items if item["id"] == parts[0]), None)
        return problem(404, "There is none.") if found is None else JSONResponse(_changed(found, body or {}))

    def _export(self) -> Response:
        async def body() -> AsyncIterator[bytes]:
            end = len(self.archive) if self.archive_ends_at is None else self.archive_ends_at
            for start in range(0, end, 500):
                yield self.archive[start : min(start + 500, end)]
            if self.archive_ends_at is not None:
                raise ConnectionResetError("on purpose")

        headers = {"Content-Disposition": "attachment; filename*=UTF-8''Mine%2F..%20%C3%BC.zip"}
        headers |= {"X-Export-Files": "1", "X-Export-Bytes": "1000"}
        return StreamingResponse(body(), headers=headers, media_type="application/zip")

    async def _imports(self, request: Request, parts: list[str]) -> Response:
        if request.method == "POST":
            assert request.headers["content-type"] == "application/zip"
            self.imported.append(await request.body())
            assert int(request.headers["content-length"]) == len(self.imported[-1])
            if self.import_troubles:
                return problem(self.import_troubles.pop(0), "Try again in a moment.", headers={"Retry-After": "0"})
            return JSONResponse(self.imports[0], 202)
        if not parts:
            return listing(self.imports[:1])
        return JSONResponse(self.imports.pop(0) if len(self.imports) > 1 else self.imports[0])


def listing(items: list[Json]) -> Response:
    """A list that fits on one page."""
    return JSONResponse({"items": items, "total": len(items), "page": 1, "per_page": 100})


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """Problem details (RFC 9457)."""
    content = {"type": "about:blank", "title": "Error", "status": status, "detail": detail, "instance": "/", **more}
    return JSONResponse(content, status, headers=headers, media_type="application/problem+json")
