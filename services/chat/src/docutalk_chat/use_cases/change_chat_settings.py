"""Changes how a workspace's questions are answered."""

from __future__ import annotations

from docutalk_common.contracts.chat import ChangeChatSettings, ChatSettings
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_chat.adapters import repository
from docutalk_chat.adapters.answerers import Answerers
from docutalk_chat.adapters.erasure_repository import may_store
from docutalk_chat.domain.answers import MOST_PASSAGES

_SETTINGS = ("model", "temperature", "passages")
_HOTTEST = 2.0


async def change_chat_settings(db: Database, answerers: Answerers, request: ChangeChatSettings, cause: Cause) -> ChatSettings:
    """Sets what the request names. Raises `RequestFailed("invalid")`, and `NotFound` for a workspace that was deleted.

    A model is compared with those that the provider lists, while it does: a misspelt name would fail every question.
    """
    if request.temperature is not None and not 0 <= request.temperature <= _HOTTEST:
        raise RequestFailed("invalid", f"temperature is within 0 and {_HOTTEST:g}")
    if request.passages is not None and not 1 <= request.passages <= MOST_PASSAGES:
        raise RequestFailed("invalid", f"passages is within 1 and {MOST_PASSAGES}")
    if "model" in request.changes and request.model is not None:
        found = await answerers.models()
        if found.complete and request.model not in found.items:
            raise RequestFailed("invalid", f"There is no model {request.model!r} here. There are: {', '.join(found.items)}")
    changes = {name: getattr(request, name) for name in _SETTINGS if name in request.changes}
    async with db.transaction(cause) as transaction:
        if not await may_store(transaction.session, request.workspace_id):
            raise NotFound("the workspace was deleted")
        return await repository.change_chat_settings(transaction.session, request.workspace_id, changes)
