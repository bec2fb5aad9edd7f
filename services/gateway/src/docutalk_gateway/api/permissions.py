"""Who may do what: the one table. Each operation of the API has a line, and nothing else decides.

`context.py` enforces it for every request before its route runs. A route without a line cannot be served, and a test calls every
operation as everybody and compares with this table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from docutalk_gateway.domain import Role, Scope, SharePermission, ShareTarget


class Who(IntEnum):
    """Who may call an operation. Inside a workspace each may do what those before may."""

    ANYBODY = 0
    """No sign-in needed. What is secret here comes with a token of its own."""
    SIGNED_IN = 1
    """A person, or a program with their key."""
    ADMINISTRATOR = 2
    """An administrator of the installation. None of the workspaces is theirs for that."""
    VIEWER = 3
    EDITOR = 4
    OWNER = 5

    @property
    def is_member(self) -> bool:
        """Whether it is a role in the workspace that the path names."""
        return self >= Who.VIEWER


_RANKS: Mapping[Role, Who] = {Role.VIEWER: Who.VIEWER, Role.EDITOR: Who.EDITOR, Role.OWNER: Who.OWNER}


def rank(role: Role) -> Who:
    """What a member with this role is in the table."""
    return _RANKS[role]


@dataclass(frozen=True)
class Shared:
    """What a share link must grant, and of which targets. A link to a document is none to its workspace."""

    permission: SharePermission
    targets: frozenset[ShareTarget]


@dataclass(frozen=True)
class Rule:
    """One line. `scope` is what an API key needs, None: no key may, a person has to sign in. `shared`: whether a share link may.
    `changes`: refused in an archived workspace."""

    who: Who
    scope: Scope | None = None
    shared: Shared | None = None
    changes: bool = False


VIEW, SEARCH, CHAT, COMMENT, COPY = SharePermission
WORKSPACE, DOCUMENT, SOURCE, SESSION = ShareTarget

_DOCUMENTS = frozenset({WORKSPACE, SOURCE, DOCUMENT})
_LISTS = frozenset({WORKSPACE, SOURCE})
_ALL = frozenset({WORKSPACE})
_OWN_SESSIONS = frozenset({WORKSPACE, SOURCE, DOCUMENT})
_SESSIONS = frozenset({SESSION, *_OWN_SESSIONS})

_ANYBODY = Rule(Who.ANYBODY)
_PERSON = Rule(Who.SIGNED_IN)
_ADMINISTRATOR = Rule(Who.ADMINISTRATOR)


def _read(shared: Shared | None = None) -> Rule:
    return Rule(Who.VIEWER, Scope.DOCUMENTS_READ, shared)


def _write() -> Rule:
    return Rule(Who.EDITOR, Scope.DOCUMENTS_WRITE, changes=True)


def _search(shared: Shared | None = None) -> Rule:
    return Rule(Who.VIEWER, Scope.SEARCH, shared)


def _chat(shared: Shared | None = None, *, changes: bool = False) -> Rule:
    return Rule(Who.VIEWER, Scope.CHAT, shared, changes)


def _manage(who: Who = Who.OWNER, *, changes: bool = False) -> Rule:
    return Rule(who, Scope.WORKSPACES_MANAGE, changes=changes)


RULES: Mapping[str, Rule] = {
    # For machines that watch
    "health": _ANYBODY,
    "livez": _ANYBODY,
    "readyz": _ANYBODY,
    "metrics": _ANYBODY,
    # Signing in
    "register": _ANYBODY,
    "login": _ANYBODY,
    "token": _ANYBODY,
    "refresh": _ANYBODY,
    "logout": _ANYBODY,
    "reset_password": _ANYBODY,
    "get_sign_in_options": _ANYBODY,
    "start_openid": _ANYBODY,
    "finish_openid": _ANYBODY,
    "exchange_openid": _ANYBODY,
    # With a token of their own
    "get_invited": _ANYBODY,
    "get_shared": _ANYBODY,
    "open_shared": _ANYBODY,
    "get_erasure": _ANYBODY,
    # Oneself
    "me": Rule(Who.SIGNED_IN, Scope.WORKSPACES_READ),
    "patch_me": _PERSON,
    "delete_me": _PERSON,
    "change_password": _PERSON,
    "list_sign_ins": _PERSON,
    "end_sign_in": _PERSON,
    "end_other_sign_ins": _PERSON,
    "add_api_key": _PERSON,
    "list_api_keys": _PERSON,
    "remove_api_key": _PERSON,
    "accept_invitation": _PERSON,
    # The installation
    "list_users": _ADMINISTRATOR,
    "patch_user": _ADMINISTRATOR,
    "delete_user": _ADMINISTRATOR,
    "make_password_reset": _ADMINISTRATOR,
    "unlink_openid": _ADMINISTRATOR,
    "list_account_invitations": _ADMINISTRATOR,
    "add_account_invitation": _ADMINISTRATOR,
    "remove_account_invitation": _ADMINISTRATOR,
    "list_all_workspaces": _ADMINISTRATOR,
    "patch_quota": _ADMINISTRATOR,
    "list_signing_keys": _ADMINISTRATOR,
    "rotate_signing_key": _ADMINISTRATOR,
    "get_audit_log": _ADMINISTRATOR,
    "dead_letters": _ADMINISTRATOR,
    "dead_letter": _ADMINISTRATOR,
    "list_models": _ADMINISTRATOR,
    "add_model": _ADMINISTRATOR,
    "delete_model": _ADMINISTRATOR,
    "list_model_changes": _ADMINISTRATOR,
    "start_model_change": _ADMINISTRATOR,
    "step_model_change": _ADMINISTRATOR,
    # Workspaces
    "list_workspaces": Rule(Who.SIGNED_IN, Scope.WORKSPACES_READ),
    "add_workspace": Rule(Who.SIGNED_IN, Scope.WORKSPACES_MANAGE),
    "get_workspace": Rule(Who.VIEWER, Scope.WORKSPACES_READ),
    "get_usage": Rule(Who.VIEWER, Scope.WORKSPACES_READ),
    "list_members": Rule(Who.VIEWER, Scope.WORKSPACES_READ),
    "patch_workspace": _manage(changes=True),
    "archive_workspace": _manage(),
    "restore_workspace": _manage(),
    "delete_workspace": Rule(Who.OWNER),
    "patch_member": _manage(),
    # Of an owner, or of oneself: `remove_member` looks.
    "remove_member": _manage(Who.VIEWER),
    "transfer_ownership": Rule(Who.OWNER),
    "list_invitations": _manage(),
    "add_invitation": _manage(),
    "remove_invitation": _manage(),
    "get_workspace_audit_log": Rule(Who.OWNER, Scope.WORKSPACES_MANAGE),
    "export_workspace": _manage(),
    "import_workspace": Rule(Who.SIGNED_IN, Scope.WORKSPACES_MANAGE),
    "list_imports": Rule(Who.SIGNED_IN, Scope.WORKSPACES_MANAGE),
    "get_import": Rule(Who.SIGNED_IN, Scope.WORKSPACES_MANAGE),
    # Share links
    "list_shares": _manage(Who.EDITOR),
    "add_share": _manage(Who.EDITOR, changes=True),
    "get_share": _manage(Who.EDITOR),
    "patch_share": _manage(Who.EDITOR, changes=True),
    "remove_share": _manage(Who.EDITOR),
    "list_share_accesses": _manage(Who.EDITOR),
    # Documents
    "get_documents": _read(Shared(VIEW, _DOCUMENTS)),
    "get_one_document": _read(Shared(VIEW, _DOCUMENTS)),
    "get_versions": _read(Shared(VIEW, _DOCUMENTS)),
    "get_page": _read(Shared(VIEW, _DOCUMENTS)),
    "get_boxes": _read(Shared(VIEW, _DOCUMENTS)),
    "get_page_image": _read(Shared(VIEW, _DOCUMENTS)),
    "get_units": _read(Shared(VIEW, _DOCUMENTS)),
    "get_content": _read(Shared(COPY, _DOCUMENTS)),
    "get_timeline": _read(),
    "stream_document": _read(),
    "stream_workspace": _read(),
    "workspace_progress": _read(),
    "stream_progress": _read(),
    "upload_documents": _write(),
    "upload_version": _write(),
    "patch_document": _write(),
    "remove_document": _write(),
    "change_many": _write(),
    "retry": _write(),
    "cancel": _write(),
    # Sources
    "list_sources": _read(),
    "get_source": _read(),
    "list_runs": _read(),
    "add_source": _write(),
    "patch_source": _write(),
    "delete_source": _write(),
    "run_source": _write(),
    "pause_source": _write(),
    "resume_source": _write(),
    # Search
    "search": _search(Shared(SEARCH, _DOCUMENTS)),
    "similar_documents": _search(Shared(SEARCH, _ALL)),
    "list_places": _search(Shared(SEARCH, _ALL)),
    "list_document_places": _search(Shared(SEARCH, _DOCUMENTS)),
    "compare_models": _search(),
    "get_search_settings": _search(),
    "patch_search_settings": _manage(changes=True),
    # Chat: everybody's conversations are their own; so are those of whoever comes by a link.
    "post_chat": _chat(Shared(CHAT, _OWN_SESSIONS), changes=True),
    "regenerate_answer": _chat(Shared(CHAT, _OWN_SESSIONS), changes=True),
    "stop_answer": _chat(Shared(CHAT, _OWN_SESSIONS)),
    "stream_answer": _chat(Shared(CHAT, _OWN_SESSIONS)),
    "give_feedback": _chat(Shared(COMMENT, _OWN_SESSIONS)),
    "list_sessions": _chat(Shared(CHAT, _OWN_SESSIONS)),
    "get_session": _chat(Shared(VIEW, _SESSIONS)),
    "list_messages": _chat(Shared(VIEW, _SESSIONS)),
    "export_session": _chat(Shared(COPY, _SESSIONS)),
    "patch_session": _chat(),
    "delete_session": _chat(Shared(CHAT, _OWN_SESSIONS)),
    "get_chat_settings": _chat(),
    "list_chat_models": _chat(),
    "patch_chat_settings": _manage(changes=True),
    # Other protocols
    "list_openai_models": Rule(Who.SIGNED_IN, Scope.WORKSPACES_READ),
    "get_openai_model": Rule(Who.SIGNED_IN, Scope.WORKSPACES_READ),
    "create_chat_completion": Rule(Who.SIGNED_IN, Scope.CHAT, changes=True),
    "create_embeddings": Rule(Who.SIGNED_IN, Scope.SEARCH),
}
"""Operation → rule. An operation is called as its route's function, and as it is in the OpenAPI document."""

TOOLS: Mapping[str, Rule] = {
    "search": _search(),
    "fetch": _read(),
    "list_documents": _read(),
    "ask": _chat(changes=True),
}
"""The tools of MCP."""


def targets_of(permission: SharePermission) -> frozenset[ShareTarget]:
    """What a link with this permission can be to: for a target that no operation takes, it would grant nothing."""
    return frozenset(_targets(permission))


def _targets(permission: SharePermission) -> Iterator[ShareTarget]:
    for rule in RULES.values():
        if rule.shared is not None and rule.shared.permission is permission:
            yield from rule.shared.targets


def check(routes: Sequence[BaseRoute]) -> None:
    """Raises `LookupError` for a route that the table has no line for: it is not served."""
    found = [context.original_route for context in iter_route_contexts(routes)]
    missing = {route.name for route in found if isinstance(route, APIRoute) and route.include_in_schema} - set(RULES)
    if missing:
        raise LookupError(f"api/permissions.py does not say who may call {', '.join(sorted(missing))}")
