"""What an operator wants to know about answers."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)

ANSWERS = Counter("docutalk_chat_answers_total", "Answers by outcome: supported, unsupported, or a failure's code", ["outcome"])
ANSWER_SECONDS = Histogram("docutalk_chat_answer_seconds", "From taking a question up to its stored answer", buckets=_SECONDS)
FIRST_TOKEN_SECONDS = Histogram(
    "docutalk_chat_first_token_seconds", "From taking a question up to the first text of its answer", buckets=_SECONDS
)
MARKERS_REMOVED = Counter(
    "docutalk_chat_markers_removed_total",
    "Citation markers taken out of answers: out_of_range, unsupported by the passage, or not_on_page",
    ["reason"],
)
FRAMES_LOST = Counter("docutalk_chat_frames_lost_total", "Token frames that could not be published")
TOKENS_USED = Counter("docutalk_chat_model_tokens_total", "Tokens that language models counted", ["direction"])
COST = Counter("docutalk_chat_model_cost_usd_total", "What language models cost, as far as their prices are known, in US dollars")
