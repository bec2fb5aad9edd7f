"""Which answerer a workspace's questions go to, and what models there are to choose from."""

from __future__ import annotations

import asyncio
import time

from docutalk_common.contracts.chat import ChatModels, ChatSettings
from docutalk_common.llm import ModelError
from docutalk_common.telemetry import get_logger

from docutalk_chat.adapters.extractive import ExtractiveAnswerer
from docutalk_chat.adapters.language_model import ModelAnswerer
from docutalk_chat.domain.answers import EXTRACTIVE, Answerer

log = get_logger(__name__)

LIST_SECONDS = 60.0
"""For how long a provider's list of models is taken for true."""
ASK_SECONDS = 4.0
"""For the list. A provider that hangs must not keep a workspace from choosing the answerer that needs none."""


class Answerers:
    """The extractive answerer, and the language model when one is configured or was found."""

    def __init__(self, extractive: ExtractiveAnswerer, model: ModelAnswerer | None) -> None:
        self._extractive = extractive
        self._model = model
        self._listed: list[str] = []
        self._listed_until = 0.0

    def choose(self, settings: ChatSettings) -> Answerer:
        """The one for these settings. A model that was chosen while there was a provider needs one."""
        if self._model is None or settings.model == EXTRACTIVE:
            return self._extractive
        return self._model

    async def models(self) -> ChatModels:
        """What can be chosen. Never raises: a provider that is away only makes the list incomplete."""
        if self._model is None:
            return ChatModels(provider="none", default=EXTRACTIVE, items=[EXTRACTIVE])
        model = self._model.model
        complete = True
        default = model.endpoint.model or ""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                if time.monotonic() > self._listed_until:
                    self._listed = await model.models()
                    self._listed_until = time.monotonic() + LIST_SECONDS
                default = await model.default_model()
        except (ModelError, TimeoutError) as error:
            log.info("the provider does not tell its models", reason=str(error))
            complete = False
        names = dict.fromkeys([*([default] if default else []), *self._listed, EXTRACTIVE])
        return ChatModels(provider=model.endpoint.provider, default=default, items=list(names), complete=complete)
