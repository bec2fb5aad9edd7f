"""Sign-ins as people see them, invitations, OpenID, signing keys, share links, the audit log, limits, erasures, imports.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, CITEXT, JSONB

revision = "0004"
down_revision = "0003"

ALL_SCOPES = "documents:read,documents:write,search,chat,workspaces:read,workspaces:manage"
# Of no password: nobody finds one whose hash is zeros.
NO_PASSWORD = f"$argon2id$v=19$m=65536,t=3,p=4${'A' * 22}${'A' * 43}"

_API_KEYS = sa.table("api_keys", sa.column("scopes", ARRAY(sa.Text)))
_USERS = sa.table("users", sa.column("password_hash"), sa.column("disabled_at"))


def _time(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=sa.func.now() if now else None)


def _of(table: str, *, name: str | None = None, nullable: bool = False, primary_key: bool = False) -> sa.Column[object]:
    """A reference, and what refers goes with it."""
    reference = sa.ForeignKey(f"{table}.id", ondelete="CASCADE")
    return sa.Column(name or f"{table[:-1]}_id", sa.Uuid, reference, nullable=nullable, primary_key=primary_key)


def _index(table: str, *columns: str) -> None:
    op.create_index(f"{table}_{'_'.join(columns)}", table, list(columns))


def upgrade() -> None:
    """Families of refresh tokens become sign-ins. Keys made before may do all that keys may."""
    op.alter_column("users", "password_hash", nullable=True)
    op.alter_column("users", "default_workspace_id", nullable=True)
    op.drop_constraint("users_default_workspace_id_fkey", "users", type_="foreignkey")
    op.create_foreign_key(
        "users_default_workspace_id_fkey", "users", "workspaces", ["default_workspace_id"], ["id"], ondelete="SET NULL"
    )
    # For what deletes a workspace.
    _index("users", "default_workspace_id")
    op.add_column("users", _time("disabled_at", nullable=True))
    op.add_column("users", sa.Column("email_vouched", sa.Boolean, nullable=False, server_default="false"))
    # So far the settings are what makes administrators.
    op.execute("UPDATE users SET email_vouched = true WHERE is_admin")
    op.add_column("workspaces", _time("archived_at", nullable=True))
    op.add_column("workspaces", sa.Column("max_documents", sa.BigInteger))
    op.add_column("workspaces", sa.Column("max_bytes", sa.BigInteger))
    op.add_column("workspaces", sa.Column("max_questions_per_day", sa.Integer))
    # For what counts or deletes them: the index of current versions has only those.
    _index("uploads", "workspace_id")
    op.create_index("posted_messages_of_workspace", "posted_messages", ["workspace_id", "created_at"])
    _sign_ins()
    op.add_column("api_keys", sa.Column("scopes", ARRAY(sa.Text), nullable=False, server_default=f"{{{ALL_SCOPES}}}"))
    op.alter_column("api_keys", "scopes", server_default=None)
    _accounts()
    _shares()
    _records()


def _sign_ins() -> None:
    op.create_table(
        "sign_ins",
        sa.Column("id", sa.Uuid, primary_key=True),
        _of("users"),
        sa.Column("method", sa.Text, nullable=False, server_default="password"),
        sa.Column("user_agent", sa.Text),
        sa.Column("address", sa.Text),
        _time("created_at", now=True),
        _time("last_used_at", now=True),
        _time("expires_at"),
        _time("revoked_at", nullable=True),
    )
    _index("sign_ins", "user_id")
    _index("sign_ins", "expires_at")
    op.execute(
        "INSERT INTO sign_ins (id, user_id, user_agent, address, created_at, last_used_at, expires_at, revoked_at)"
        " SELECT DISTINCT ON (family_id) family_id, user_id, user_agent, address,"
        " min(created_at) OVER (PARTITION BY family_id), created_at, expires_at,"
        " min(revoked_at) OVER (PARTITION BY family_id)"
        " FROM refresh_tokens ORDER BY family_id, created_at DESC"
    )
    op.alter_column("refresh_tokens", "family_id", new_column_name="sign_in_id")
    op.execute("ALTER INDEX refresh_tokens_family_id RENAME TO refresh_tokens_sign_in_id")
    op.create_foreign_key(
        "refresh_tokens_sign_in_id_fkey", "refresh_tokens", "sign_ins", ["sign_in_id"], ["id"], ondelete="CASCADE"
    )
    for column in ("user_id", "user_agent", "address", "revoked_at"):
        op.drop_column("refresh_tokens", column)


def _accounts() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("email", CITEXT),
        _of("workspaces", nullable=True),
        sa.Column("role", sa.Text),
        _of("users", name="invited_by"),
        _time("created_at", now=True),
        _time("expires_at"),
        _time("accepted_at", nullable=True),
        sa.Column("accepted_by", sa.Uuid),
        sa.CheckConstraint("(workspace_id IS NULL) = (role IS NULL)", name="invitations_role"),
    )
    for column in ("workspace_id", "invited_by", "expires_at"):
        _index("invitations", column)
    op.create_table(
        "password_resets",
        _of("users", primary_key=True),
        sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
        _time("expires_at"),
    )
    _index("password_resets", "expires_at")
    op.create_table(
        "openid_identities",
        sa.Column("issuer", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        _of("users"),
        _time("created_at", now=True),
    )
    _index("openid_identities", "user_id")
    op.create_table(
        "openid_flows",
        sa.Column("state_hash", sa.LargeBinary, primary_key=True),
        sa.Column("browser_hash", sa.LargeBinary, nullable=False),
        sa.Column("nonce", sa.Text, nullable=False),
        sa.Column("code_verifier", sa.Text, nullable=False),
        sa.Column("return_to", sa.Text),
        sa.Column("code_challenge", sa.Text),
        sa.Column("invitation_hash", sa.LargeBinary),
        _time("expires_at"),
    )
    _index("openid_flows", "expires_at")
    op.create_table(
        "openid_codes",
        sa.Column("code_hash", sa.LargeBinary, primary_key=True),
        _of("users"),
        sa.Column("code_challenge", sa.Text, nullable=False),
        _time("expires_at"),
    )
    _index("openid_codes", "user_id")
    _index("openid_codes", "expires_at")
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        _time("created_at", now=True),
        _time("retires_at", nullable=True),
    )


def _shares() -> None:
    op.create_table(
        "shares",
        sa.Column("id", sa.Uuid, primary_key=True),
        _of("workspaces"),
        sa.Column("name", sa.Text),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("target_id", sa.Uuid, nullable=False),
        sa.Column("permissions", ARRAY(sa.Text), nullable=False),
        sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("max_uses", sa.Integer),
        sa.Column("uses", sa.Integer, nullable=False, server_default="0"),
        _of("users", name="created_by"),
        _time("created_at", now=True),
        _time("expires_at", nullable=True),
        _time("revoked_at", nullable=True),
        sa.CheckConstraint("uses <= max_uses", name="shares_uses"),
    )
    _index("shares", "workspace_id")
    _index("shares", "created_by")
    op.create_table(
        "share_visits",
        sa.Column("id", sa.Uuid, primary_key=True),
        _of("shares"),
        _time("opened_at", now=True),
        _time("expires_at"),
    )
    _index("share_visits", "share_id")
    _index("share_visits", "expires_at")
    op.create_table(
        "share_accesses",
        sa.Column("id", sa.Uuid, primary_key=True),
        _of("shares"),
        sa.Column("visit_id", sa.Uuid),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("document_id", sa.Uuid),
        sa.Column("reason", sa.Text),
        sa.Column("address", sa.Text),
        sa.Column("user_agent", sa.Text),
        _time("at", now=True),
    )
    op.create_index("share_accesses_of_share", "share_accesses", ["share_id", "id"])
    _index("share_accesses", "at")


def _records() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid, primary_key=True),
        _time("at", now=True),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("actor_id", sa.Uuid),
        sa.Column("workspace_id", sa.Uuid),
        sa.Column("target_id", sa.Uuid),
        sa.Column("address", sa.Text),
        sa.Column("user_agent", sa.Text),
        sa.Column("details", JSONB, nullable=False, server_default="{}"),
    )
    op.create_index("audit_log_of_workspace", "audit_log", ["workspace_id", "id"])
    op.create_index("audit_log_of_actor", "audit_log", ["actor_id", "id"])
    _index("audit_log", "at")
    op.create_table(
        "rate_windows",
        sa.Column("bucket", sa.Text, primary_key=True),
        sa.Column("window", sa.BigInteger, primary_key=True),
        sa.Column("taken", sa.Integer, nullable=False),
        _time("ends_at"),
        prefixes=["UNLOGGED"],
    )
    _index("rate_windows", "ends_at")
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject_id", sa.Uuid, nullable=False),
        _of("erasures", name="parent_id", nullable=True),
        sa.Column("services", ARRAY(sa.Text), nullable=False),
        _time("requested_at", now=True),
        _time("completed_at", nullable=True),
    )
    _index("erasures", "subject_id")
    _index("erasures", "parent_id")
    op.create_table(
        "erasure_receipts",
        _of("erasures", primary_key=True),
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True),
        sa.Column("parts", sa.Integer, nullable=False),
        sa.Column("removed", JSONB, nullable=False),
        _time("received_at", now=True),
    )
    op.create_table(
        "imports",
        sa.Column("id", sa.Uuid, primary_key=True),
        _of("users"),
        sa.Column("object_key", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("status", sa.Text, nullable=False, server_default="queued"),
        sa.Column("steps_done", sa.Integer, nullable=False, server_default="0"),
        sa.Column("steps", sa.Integer),
        sa.Column("workspace_id", sa.Uuid),
        sa.Column("remapped", sa.Integer),
        sa.Column("reason", sa.Text),
        _time("created_at", now=True),
        _time("finished_at", nullable=True),
        _time("held_until", nullable=True),
        sa.Column("held_by", sa.Uuid),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    )
    _index("imports", "user_id")
    _index("imports", "finished_at")


def downgrade() -> None:
    """The version before knows no account without a password or a workspace, and no key that may not do everything: they go. It
    knows no disabled account either: those lose their password and keys. Who was signed in signs in again."""
    for table in (
        *("imports", "erasure_receipts", "erasures", "rate_windows", "audit_log", "share_accesses", "share_visits", "shares"),
        *("signing_keys", "openid_codes", "openid_flows", "openid_identities", "password_resets", "invitations"),
    ):
        op.drop_table(table)
    every = sa.cast(ALL_SCOPES.split(","), ARRAY(sa.Text))
    op.execute(sa.delete(_API_KEYS).where(~_API_KEYS.c.scopes.contains(every)))
    op.execute("DELETE FROM api_keys USING users WHERE users.id = user_id AND disabled_at IS NOT NULL")
    kept_out = _USERS.c.disabled_at.is_not(None) & _USERS.c.password_hash.is_not(None)
    op.execute(sa.update(_USERS).where(kept_out).values(password_hash=NO_PASSWORD))
    op.drop_column("api_keys", "scopes")
    op.execute("DELETE FROM refresh_tokens")
    op.drop_constraint("refresh_tokens_sign_in_id_fkey", "refresh_tokens", type_="foreignkey")
    op.drop_table("sign_ins")
    op.execute("ALTER INDEX refresh_tokens_sign_in_id RENAME TO refresh_tokens_family_id")
    op.alter_column("refresh_tokens", "sign_in_id", new_column_name="family_id")
    op.add_column("refresh_tokens", sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False))
    op.create_index("refresh_tokens_user_id", "refresh_tokens", ["user_id"])
    for column in (sa.Column("user_agent", sa.Text), sa.Column("address", sa.Text), _time("revoked_at", nullable=True)):
        op.add_column("refresh_tokens", column)
    op.drop_index("uploads_workspace_id", "uploads")
    op.drop_index("posted_messages_of_workspace", "posted_messages")
    for column_name in ("archived_at", "max_documents", "max_bytes", "max_questions_per_day"):
        op.drop_column("workspaces", column_name)
    op.drop_column("users", "disabled_at")
    op.drop_column("users", "email_vouched")
    op.execute("DELETE FROM users WHERE password_hash IS NULL OR default_workspace_id IS NULL")
    op.drop_index("users_default_workspace_id", "users")
    op.drop_constraint("users_default_workspace_id_fkey", "users", type_="foreignkey")
    op.create_foreign_key("users_default_workspace_id_fkey", "users", "workspaces", ["default_workspace_id"], ["id"])
    op.alter_column("users", "default_workspace_id", nullable=False)
    op.alter_column("users", "password_hash", nullable=False)
