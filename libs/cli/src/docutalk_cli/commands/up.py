"""`docutalk up`: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from docutalk_local.errors import ChildFailed, StartError
from docutalk_local.home import Home, write_private
from docutalk_local.stack import LocalStack, Options
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner

_FRAME_SECONDS = 0.1


def up(
    home: Annotated[
        Path | None, typer.Option(help="The state folder. \\[default: .docutalk]", envvar="DOCUTALK_HOME", show_default=False)
    ] = None,
    port: Annotated[int, typer.Option(help="The port of the web API.", envvar="DOCUTALK_PORT", min=1, max=65535)] = 8000,
) -> None:
    """Start DocuTalk with its own PostgreSQL, NATS and object storage. Ctrl-C stops everything.

    All state lies in one folder; a second start finds it again.
    """
    console = Console()
    options = Options(
        port=port,
        admin_email=os.environ.get("DOCUTALK_ADMIN_EMAIL") or Options.admin_email,
        admin_password=os.environ.get("DOCUTALK_ADMIN_PASSWORD") or None,
    )
    try:
        with Home.at(home).locked() as folder:
            code = asyncio.run(_serve(folder, options, console))
    except StartError as error:
        _explain(error)
        code = 1
    raise typer.Exit(code)


async def _serve(home: Home, options: Options, console: Console) -> int:
    """Run until a signal asks to stop. Returns the exit code."""
    began = time.monotonic()
    stack = LocalStack(home, options, report=lambda name, sentence: console.print(f"[yellow]{name}[/] {escape(sentence)}"))
    stopping = asyncio.Event()
    _listen(stopping, stack, console)
    display = _Display(console)
    starting = asyncio.create_task(stack.start(display.step))
    try:
        await _either(starting, stopping)
        if stopping.is_set():
            return 0
        await starting
        write_private(home.folder / "cli.json", json.dumps(_credentials(stack), indent=2))
        _welcome(console, stack, time.monotonic() - began)
        await stopping.wait()
        console.print("Stopping ...")
        return 0
    finally:
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, StartError):
            await starting
        await stack.stop()
        if stopping.is_set():
            console.print("Stopped.")


def _listen(stopping: asyncio.Event, stack: LocalStack, console: Console) -> None:
    """The first signal stops in order, the second at once."""

    def on_signal() -> None:
        if stopping.is_set():
            console.print("Ending everything now.")
            stack.supervisor.kill_all()
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)


async def _either(task: asyncio.Task[None], event: asyncio.Event) -> None:
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


class _Display:
    """A spinner for the step at hand where somebody watches, plain lines where not."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show `name` while the block runs and a line with its duration when it is done."""
        began = time.monotonic()
        if self._console.is_terminal:
            with Live(Spinner("dots", escape(name)), console=self._console, auto_refresh=False, transient=True) as live:
                # Drawn from the event loop: with a drawing thread, starting a child process would not be safe.
                drawing = asyncio.create_task(_redraw(live))
                try:
                    yield
                finally:
                    drawing.cancel()
        else:
            self._console.print(f"{escape(name)} ...")
            yield
        self._console.print(f"[green]✓[/] {escape(name)} [dim]({time.monotonic() - began:.1f} s)[/]")


async def _redraw(live: Live) -> None:
    while True:
        live.refresh()
        await asyncio.sleep(_FRAME_SECONDS)


def _credentials(stack: LocalStack) -> dict[str, str]:
    """What the other commands on this machine need to talk to the gateway."""
    return {"url": stack.url, "email": stack.options.admin_email, "password": stack.admin_password}


def _welcome(console: Console, stack: LocalStack, seconds: float) -> None:
    wanted = stack.options.admin_password
    if wanted == stack.admin_password:
        password = "as set in DOCUTALK_ADMIN_PASSWORD"  # noqa: S105 - the words that stand in for it
    else:
        password = f"{stack.admin_password}  (kept in {stack.home.folder / 'secrets.json'})"
    lines = [
        ("DocuTalk is ready", f"{stack.url}  (after {seconds:.1f} s)"),
        ("API docs", f"{stack.url}/docs"),
        ("Administrator", stack.options.admin_email),
        ("Password", password),
        ("State and logs", str(stack.home.folder)),
    ]
    console.print()
    for label, value in lines:
        console.print(f"[bold]{label:<18}[/] {escape(value)}", soft_wrap=True, highlight=False)
    if wanted and wanted != stack.admin_password:
        console.print("DOCUTALK_ADMIN_PASSWORD isn't used: the account exists and keeps the password it was made with.")
    console.print("\nCtrl-C stops everything.")


def _explain(error: StartError) -> None:
    console = Console(stderr=True)
    console.print(f"[red]DocuTalk can't start:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
    if isinstance(error, ChildFailed) and error.tail:
        console.print("The last lines of its log:", highlight=False)
        console.print(escape(error.tail), soft_wrap=True, highlight=False)
