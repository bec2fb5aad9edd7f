"""An application fetches the sign-in of somebody who came back from the OpenID provider."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta

from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]
from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import openid_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.tokens import AccessTokens, hash_token
from docutalk_gateway.domain import OpenIdRefused
from docutalk_gateway.use_cases.sign_in import TokenPair, start_sign_in


async def redeem_openid_code(
    db: Database, tokens: AccessTokens, cause: Cause, actor: Actor, *, code: str, code_verifier: str, lifetime: timedelta
) -> TokenPair:
    """A sign-in for a code, which is used up whether or not the verifier fits. Raises `OpenIdRefused`."""
    async with db.transaction(cause) as tx:
        found = await openid_repository.take_code(tx.session, hash_token(code), datetime.now(UTC))
        if found is not None:
            user = await repository.user_by_id(tx.session, found.user_id)
            fits = hmac.compare_digest(found.code_challenge, create_s256_code_challenge(code_verifier))
            if fits and user is not None and user.disabled_at is None:
                return await start_sign_in(tx.session, tokens, actor, user_id=user.id, method="openid", lifetime=lifetime)
            note(tx.session, Action.SIGN_IN_FAILED, actor, target_id=found.user_id, method="openid")
    # Raised after the commit: inside the block it would give the code back.
    raise OpenIdRefused("This code is not valid (any more), or was asked for by another application. Start the sign-in again.")
