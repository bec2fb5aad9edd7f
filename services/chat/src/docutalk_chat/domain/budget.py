"""Makes what a model is sent fit into what it can take: older messages go first, then passages, the least relevant first."""

from __future__ import annotations

import re
from dataclasses import replace

from docutalk_chat.domain.answers import AnswerNotPossible, Material

ANSWER_TOKENS = 1024
"""Kept free for the answer, where nothing else is asked for; a third of a small window."""
_PARTS = 12
"""Tokens that a message or a source costs beside its text: roles, tags, number, page."""
_PIECES = re.compile(r"[A-Za-z]+|\d+|[^\W\d_]+|[^\s]", re.ASCII)
_WIDE = re.compile(r"[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")


def estimate_tokens(text: str) -> int:
    """About how many tokens a model counts, rather more than fewer: a model's own tokenizer is not to be had for every model.

    English words are a token for each six letters begun, figures one for each three digits, signs one each; a letter of
    another script counts half, of Chinese, Japanese and Korean one.
    """
    total = 0.0
    for piece in _PIECES.findall(text):
        if piece[0].isdigit():
            total += -(-len(piece) // 3)
        elif piece.isascii() and piece.isalpha():
            total += -(-len(piece) // 6)
        else:
            total += 1 if not piece.isalpha() or _WIDE.match(piece) else 0.5
    return int(total) + 1


def fit(material: Material, window: int) -> Material:
    """The material without what does not fit into `window` tokens. The question, the last of the turns, always stays.

    Raises `AnswerNotPossible("model_context_exceeded")` when it does not fit even alone.
    """
    room = window - min(material.options.max_tokens or ANSWER_TOKENS, window // 3)
    unlocated = material.selected_text if material.selected_source is None else None
    fixed = _RULES_TOKENS + sum(estimate_tokens(text) for text in (material.question, material.system_prompt, unlocated) if text)
    turns = list(material.turns)
    sources = list(material.sources)
    said = [estimate_tokens(turn.text) + _PARTS for turn in turns[:-1]]
    found = {source.number: estimate_tokens(source.passage.text) + 2 * _PARTS for source in sources}
    total = fixed + sum(said) + sum(found.values())
    while total > room and said:
        total -= said.pop(0)
        turns.pop(0)
    while total > room and sources:
        least = min(sources, key=lambda source: (source.passage.score, -source.number))
        sources.remove(least)
        total -= found[least.number]
    if total > room:
        raise AnswerNotPossible(
            "model_context_exceeded",
            f"The question is too long for the language model, which takes {window} tokens. Shorten it or the selected text.",
        )
    return replace(material, turns=turns, sources=sources)


_RULES_TOKENS = 320
"""Of the rules, the frame of the question, and what else is always sent."""
