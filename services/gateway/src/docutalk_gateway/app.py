"""The composition root: the gateway's parts, its message handlers, its routes, and the server around them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import uvicorn
from docutalk_common.db import Database
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.process import Runtime, cancel_all
from docutalk_common.storage import ObjectStorage
from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware

from docutalk_gateway.adapters.log_purge import LogPurge
from docutalk_gateway.adapters.openid_provider import OpenIdProvider
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.tokens import AccessTokens
from docutalk_gateway.api import (
    accounts,
    admin_accounts,
    api_keys,
    audit,
    auth,
    chat,
    chat_sessions,
    chat_settings,
    docs,
    document_actions,
    document_events,
    documents,
    embedding_models,
    erasures,
    exports,
    imports,
    invitations,
    members,
    openai_chat,
    openai_embeddings,
    openai_errors,
    openai_models,
    openid,
    operations,
    permissions,
    problems,
    progress,
    quotas,
    schema,
    search,
    shares,
    sign_ins,
    sources,
    uploads,
    viewer,
    workspaces,
)
from docutalk_gateway.api.context import Gateway, admit_nobody
from docutalk_gateway.api.edge import Edge, Patience
from docutalk_gateway.api.http_protocol import bounded_protocol
from docutalk_gateway.api.mcp_endpoint import McpEndpoint
from docutalk_gateway.consumers import (
    chat_data_erased,
    embed_data_erased,
    ingest_data_erased,
    ingest_document_deleted,
    request_workspace_get,
)
from docutalk_gateway.settings import GatewaySettings
from docutalk_gateway.use_cases.check_archive import SizeLimits
from docutalk_gateway.use_cases.complete_erasures import complete_erasures_for_ever
from docutalk_gateway.use_cases.ensure_admin import ensure_admin
from docutalk_gateway.use_cases.keep_importing import ImportWorker, import_for_ever
from docutalk_gateway.use_cases.keep_signing_keys import keep_signing_keys, renew_signing_key
from docutalk_gateway.use_cases.limit_requests import RequestLimits
from docutalk_gateway.use_cases.sweep_archives import sweep_archives_for_ever
from docutalk_gateway.use_cases.sweep_expired import sweep_for_ever
from docutalk_gateway.use_cases.sweep_objects import sweep_objects_for_ever

VERSION = "0.1.0"
# Long enough for an upload of some size to end, within the 30 s that most supervisors give.
SHUTDOWN_SECONDS = 25
_PATIENCE = Patience()


def openid_provider(settings: GatewaySettings) -> OpenIdProvider | None:
    """The provider of the settings; None without one."""
    if not (settings.openid_issuer and settings.openid_client_id and settings.public_url):
        return None
    return OpenIdProvider(
        issuer=settings.openid_issuer,
        client_id=settings.openid_client_id,
        client_secret=settings.openid_client_secret.get_secret_value() if settings.openid_client_secret else None,
        scopes=settings.openid_scopes,
        redirect_uri=settings.public_url.rstrip("/") + openid.CALLBACK,
    )


def import_limits(settings: GatewaySettings) -> SizeLimits:
    """How large what is imported may be."""
    return SizeLimits(archive=settings.max_import_bytes, file=settings.max_upload_bytes, quota=settings.limits)


@contextlib.asynccontextmanager
async def open_gateway(settings: GatewaySettings, on_fatal: Callable[[str], None] | None = None) -> AsyncIterator[Gateway]:
    """Connects, makes the first administrator, and serves messages until the block ends."""
    db = Database(settings.postgres_dsn.get_secret_value(), schema="gateway", pool_size=settings.postgres_pool_size)
    # Each upload may hold two threads.
    storage = ObjectStorage(settings, threads=32)
    broker = MessageBroker(settings, service="gateway", db=db, dependencies={"storage": storage.ping}, on_fatal=on_fatal)
    ingest_document_deleted.subscribe(broker)
    broker.answer("rpc.gateway.v1.workspace.get", request_workspace_get.request_workspace_get(db, settings.limits))
    purge, receipt_stored = LogPurge(lambda: broker.js), asyncio.Event()
    for consumer in (ingest_data_erased, embed_data_erased, chat_data_erased):
        consumer.subscribe(broker, purge, receipt_stored)
    gateway = Gateway(
        settings=settings,
        db=db,
        storage=storage,
        broker=broker,
        passwords=Passwords(),
        tokens=AccessTokens(seconds=settings.access_token_seconds, visit_seconds=int(settings.share_visit_hours * 3600)),
        openid=openid_provider(settings),
        request_limits=RequestLimits(db),
        checks={"postgres": db.ping, "nats": broker.ping, "storage": storage.ping},
    )
    if settings.admin_email and settings.admin_password:
        await ensure_admin(db, gateway.passwords, email=settings.admin_email, password=settings.admin_password.get_secret_value())
    key_life = timedelta(days=settings.signing_key_days)
    await renew_signing_key(db, gateway.tokens, gateway.secret, older_than=key_life)
    await broker.start()
    sweeping = [
        asyncio.create_task(keep_signing_keys(db, gateway.tokens, gateway.secret, older_than=key_life), name="keep signing keys"),
        asyncio.create_task(
            sweep_for_ever(
                db,
                audit_stays=timedelta(days=settings.audit_days),
                share_log_stays=timedelta(days=settings.share_log_days),
            ),
            name="sweep",
        ),
        asyncio.create_task(complete_erasures_for_ever(db, storage, purge, receipt_stored), name="complete erasures"),
        asyncio.create_task(
            sweep_objects_for_ever(
                db,
                storage,
                broker.requests,
                older_than=timedelta(hours=settings.sweep_after_hours),
                every=settings.sweep_every_seconds,
            ),
            name="sweep objects",
        ),
        asyncio.create_task(sweep_archives_for_ever(db, storage, every=settings.sweep_every_seconds), name="sweep archives"),
        asyncio.create_task(
            import_for_ever(ImportWorker(db, storage, broker.requests, import_limits(settings)), gateway.import_posted),
            name="import",
        ),
    ]
    try:
        yield gateway
    finally:
        await cancel_all([*sweeping, *gateway.stopping])
        await broker.stop()
        await db.close()
        storage.close()


def create_app(
    settings: GatewaySettings, *, on_fatal: Callable[[str], None] | None = None, patience: Patience = _PATIENCE
) -> FastAPI:
    """The application; its lifespan owns all connections. `app.state.gateway` holds the parts while it runs."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_gateway(settings, on_fatal) as gateway:
            app.state.gateway = gateway
            async with app.state.mcp.serving():
                yield

    app = build_routes(lifespan)
    app.add_middleware(
        Edge,
        on_error=openai_errors.internal_error,
        on_timeout=openai_errors.too_slow,
        seconds=settings.request_limit_seconds,
        patience=patience,
        https=(settings.public_url or "").startswith("https://"),
    )
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origin_list,
        allow_methods=["GET", "POST", "PATCH", "PUT", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "traceparent"],
        expose_headers=[
            *("Location", "Retry-After", "X-Trace-Id", "Content-Range", "Content-Disposition", "ETag"),
            *("X-Export-Files", "X-Export-Bytes"),
        ],
        max_age=600,
    )
    return app


def build_routes(lifespan: Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """The routes alone, enough to write the OpenAPI document."""
    app = FastAPI(
        title="DocuTalk",
        summary="Answers from your documents, with the page and the words they come from",
        version=VERSION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=schema.operation_id,
    )
    app.router.routes.extend(_routes().routes)
    app.state.mcp = McpEndpoint(VERSION)
    app.router.routes.append(app.state.mcp.route)
    permissions.check(app.routes)
    problems.install(app)
    openai_errors.install(app)
    schema.install(app)
    return app


@functools.cache
def _routes() -> APIRouter:
    """All but that of MCP, which has a state. They know nothing of an application, and FastAPI reads them for half a second: of
    many gateways in one process only the first waits for that."""
    every = APIRouter(generate_unique_id_function=schema.operation_id)
    v1 = APIRouter(prefix="/api/v1", dependencies=[Depends(admit_nobody)])
    for router in (
        auth.router,
        auth.sessions,
        accounts.router,
        sign_ins.router,
        invitations.router,
        admin_accounts.router,
        openid.router,
        api_keys.router,
        workspaces.router,
        exports.router,
        imports.router,
        members.router,
        quotas.router,
        quotas.admin,
        erasures.router,
        uploads.router,
        documents.router,
        document_actions.router,
        document_events.router,
        viewer.router,
        progress.router,
        sources.router,
        search.router,
        chat.router,
        chat_sessions.router,
        chat_settings.router,
        embedding_models.router,
        shares.router,
        shares.public,
        audit.router,
        operations.admin,
    ):
        v1.include_router(router)
    every.include_router(v1)
    for router in (openai_models.router, openai_chat.router, openai_embeddings.router):
        every.include_router(router)
    every.include_router(operations.probes)
    every.include_router(docs.router)
    return every


class _Server(uvicorn.Server):
    """Leaves signals to the process: `run_service` handles them."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


@contextlib.asynccontextmanager
async def serve(
    settings: GatewaySettings, *, on_fatal: Callable[[str], None] | None = None, patience: Patience = _PATIENCE
) -> AsyncIterator[int]:
    """Runs the HTTP server inside the running loop and yields its port. At the end requests in flight are let finish."""
    app = create_app(settings, on_fatal=on_fatal, patience=patience)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=bounded_protocol(patience),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        # Whoever is not listed could else choose the address that limits and the audit log know.
        proxy_headers=bool(settings.trusted_proxy_list),
        forwarded_allow_ips=settings.trusted_proxy_list,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(), name="http server")
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)
        if serving.done():
            serving.result()
            raise RuntimeError(f"the HTTP server did not start on {settings.host}:{settings.port}")
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        if server.started:
            app.state.gateway.closing.set()
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)


def builder(settings: GatewaySettings) -> Callable[[Runtime], contextlib.AbstractAsyncContextManager[None]]:
    """What `run_service` builds."""

    @contextlib.asynccontextmanager
    async def build(runtime: Runtime) -> AsyncIterator[None]:
        async with serve(settings, on_fatal=runtime.fail):
            yield

    return build
