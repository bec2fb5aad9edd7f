"""The options that every command of the client shares, and how a command runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from docutalk_cli.account import TokenStore, find_account
from docutalk_cli.client import Api, ClientError
from docutalk_cli.lookup import workspace_of
from docutalk_cli.output import Exit, Output

Url = Annotated[str | None, typer.Option("--url", envvar="DOCUTALK_URL", help="Where DocuTalk is.", show_default=False)]
HomeFolder = Annotated[
    Path | None,
    typer.Option("--home", envvar="DOCUTALK_HOME", help="State folder of docutalk up on this machine.", show_default=False),
]
Workspace = Annotated[
    str | None,
    typer.Option(
        "--workspace", "-w", envvar="DOCUTALK_WORKSPACE", help="Workspace, by id or name. \\[default: yours]", show_default=False
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextlib.asynccontextmanager
async def connected(url: str | None, home: Path | None) -> AsyncIterator[Api]:
    """The server to talk to."""
    store = TokenStore()
    async with Api(find_account(url, home, os.environ, store), store) as api:
        yield api


@contextlib.asynccontextmanager
async def in_workspace(url: str | None, home: Path | None, workspace: str | None) -> AsyncIterator[tuple[Api, str]]:
    """The server and the id of the workspace to work in."""
    async with connected(url, home) as api:
        yield api, await workspace_of(api, workspace)


def run_connected(output: Output, url: str | None, home: Path | None, work: Callable[[Api], Coroutine[Any, Any, Exit]]) -> None:
    """`run` with the server to talk to."""

    async def connect() -> Exit:
        async with connected(url, home) as api:
            return await work(api)

    run(output, connect)


def run_in_workspace(
    output: Output,
    workspace: str | None,
    url: str | None,
    home: Path | None,
    work: Callable[[Api, str], Coroutine[Any, Any, Exit]],
) -> None:
    """`run` with the server and the id of the workspace to work in."""

    async def connect() -> Exit:
        async with in_workspace(url, home, workspace) as (api, workspace_id):
            return await work(api, workspace_id)

    run(output, connect)


def run(output: Output, work: Callable[[], Coroutine[Any, Any, Exit]]) -> None:
    """Runs a command to its exit code. Errors become one sentence on standard error."""
    try:
        code = asyncio.run(work())
    except ClientError as error:
        output.error(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        # The terminal has just echoed ^C; go on in a line of our own.
        if output.err.is_terminal:
            output.err.print()
        code = Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has seen enough (`| head`). Python must not try to flush into the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = Exit.OK
    except OSError as error:
        # The folder of the sign-ins, mostly: a container's user may have no home that can be written to.
        output.error(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        code = Exit.FAILED
    raise typer.Exit(code)
