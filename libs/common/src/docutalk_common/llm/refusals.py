"""Refusals of an endpoint, in our words. Reasons never repeat what an endpoint says: it may quote the key or the prompt."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping

from docutalk_common.llm.model import ModelError

# OpenAI and vLLM; Azure; llama.cpp; LM Studio; Anthropic, whose last one counts the answer in.
_TOO_LONG = re.compile(
    r"context_length_exceeded|maximum context length|context window|exceeds the available context size"
    r"|context length|prompt is too long|exceed context limit",
    re.IGNORECASE,
)


def exceeds_context(said: str) -> bool:
    """Whether an endpoint says that a prompt is longer than its model takes."""
    return _TOO_LONG.search(said) is not None


def context_exceeded(host: str) -> ModelError:
    """The error for that."""
    return ModelError(
        "model_context_exceeded",
        f"The question with its sources is longer than the language model at {host} takes. Ask a shorter one, or use a model"
        " with a larger context.",
    )


def refused(host: str, status: int, said: str, headers: Mapping[str, str]) -> ModelError:
    """The error for an HTTP status of 400 or more. `said` is the text of the answer's body."""
    if status == 413 or (status in (400, 422, 500) and exceeds_context(said)):
        return context_exceeded(host)
    retry_after = _seconds(headers.get("retry-after"))
    again = "Try again in a while." if retry_after is None else f"Ask again in {retry_after:.0f} s."
    if status == 429:
        reason = f"The language model at {host} takes no more questions for now. {again}"
        return ModelError("model_rate_limited", reason, retry_after=retry_after)
    if status in (401, 403):
        return ModelError("model_unauthorized", f"The language model at {host} refused the key it was given.")
    if status == 408:
        return ModelError("model_timeout", f"The language model at {host} did not answer in time.")
    if status >= 500:
        reason = f"The language model at {host} failed ({status}). {again}"
        return ModelError("model_unavailable", reason, retry_after=retry_after)
    where = " It has no such model, or the address is not the right one." if status == 404 else ""
    return ModelError("model_rejected", f"The language model at {host} did not accept the request ({status}).{where}")


def timed_out(host: str) -> ModelError:
    """The error for an endpoint that is silent."""
    return ModelError("model_timeout", f"The language model at {host} did not answer in time.")


def unreachable(host: str) -> ModelError:
    """The error for an endpoint that is not there."""
    return ModelError("model_unavailable", f"The language model at {host} cannot be reached.")


def interrupted(host: str, *, begun: bool) -> ModelError:
    """The error for an answer that broke off, after text (`begun`) or before."""
    when = "in the middle of its answer" if begun else "before the first word of its answer"
    return ModelError("model_interrupted", f"The language model at {host} stopped {when}.")


def not_an_answer(host: str) -> ModelError:
    """The error for an answer in no known format."""
    return ModelError("model_unavailable", f"The language model at {host} answered with something that is no answer.")


def _seconds(retry_after: str | None) -> float | None:
    """A `Retry-After`, which is a number of seconds or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
