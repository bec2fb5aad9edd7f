"""`docutalk models`: the models that texts are compared with, and the change from one to another. For administrators."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.text import Text
from typer.core import TyperGroup

from docutalk_cli.change import CHANGES, NEXT_STEPS, STEP_SECONDS, describe, follow_change, open_change, switch_when_complete
from docutalk_cli.client import Api, ClientError, Json
from docutalk_cli.commands.compare import compare
from docutalk_cli.options import AsJson, HomeFolder, Url, run_connected
from docutalk_cli.output import Exit, Output

MODELS = "/admin/models"
_COLUMNS = ("model", "state", "provider", "dimension", "tokens", "passages")
# A model is loaded, and asked for a vector, before it is there.
_ADD_SECONDS = 90.0


class _ListsByDefault(TyperGroup):
    """`docutalk models` alone lists them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts in what was left out."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="models",
    cls=_ListsByDefault,
    help="The models that texts are compared with, and changing them. Without a command: lists them. For administrators.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("compare")(compare)

Name = Annotated[str, typer.Argument(metavar="MODEL", help="Its name.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Show how far it is until it is complete.")]


class Provider(StrEnum):
    """Where vectors are computed."""

    BUILT_IN = "built-in"
    FASTEMBED = "fastembed"
    OPENAI = "openai"


class Distance(StrEnum):
    """How vectors are compared."""

    COSINE = "cosine"
    DOT = "dot"


@app.command("list")
def list_models(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List the models that are registered, and those that can be added by their name alone."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = await api.get(MODELS)
        if as_json:
            output.json(found)
            return Exit.OK
        rows = [_row(model) for model in found["items"]] + [_offer(offer) for offer in found["offers"] if offer["is_ready"]]
        numeric, optional = ("dimension", "tokens", "passages"), ("tokens", "provider", "dimension")
        output.table(_COLUMNS, rows, wide="model", numeric=numeric, optional=optional)
        for names, reason in _not_ready(found["offers"]):
            output.note(f"\nKnown, but not ready: {', '.join(names)}. {reason}")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("add")
def add(
    name: Name,
    *,
    provider: Annotated[Provider | None, typer.Option(help="Where its vectors are computed.")] = None,
    provider_model: Annotated[str | None, typer.Option("--provider-model", help="What the provider calls it.")] = None,
    dimension: Annotated[int | None, typer.Option(min=1, help="How long its vectors are.")] = None,
    distance: Annotated[Distance | None, typer.Option(help="How they are compared.")] = None,
    query_prefix: Annotated[str | None, typer.Option("--query-prefix", help="What is put before each query.")] = None,
    passage_prefix: Annotated[str | None, typer.Option("--passage-prefix", help="What is put before each passage.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, help="How much of a text it looks at.")] = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Register a model. Of a well-known one its name is enough; of another say provider and dimension."""
    output = Output(as_json=as_json)
    given = {
        "name": name,
        "provider": provider.value if provider else None,
        "provider_model": provider_model,
        "dimension": dimension,
        "distance": distance.value if distance else None,
        "query_prefix": query_prefix,
        "passage_prefix": passage_prefix,
        "max_tokens": max_tokens,
    }

    async def work(api: Api) -> Exit:
        body = {key: value for key, value in given.items() if value is not None}
        model = await api.post(MODELS, body, timeout=_ADD_SECONDS)
        if as_json:
            output.json(model)
        else:
            what = f"{model['provider']}, {model['dimension']} dimensions"
            output.line(f"✓ {model['name']} is registered ({what}). Change to it: docutalk models change {model['name']}")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("remove")
def remove(name: Name, yes: Yes = False, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Remove a model and its vectors. Not the one that serves, nor one that is being changed to or from."""
    output = Output(as_json=as_json)
    if not yes:
        typer.confirm(f"Remove {name} with its vectors?", abort=True, err=True)

    async def work(api: Api) -> Exit:
        await api.delete(f"{MODELS}/{quote(name)}")
        if as_json:
            output.json({"name": name})
        else:
            output.line(f"{name} is removed.")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("change")
def change(
    name: Name,
    *,
    follow: Follow = False,
    switch: Annotated[
        bool, typer.Option("--switch", help="Follow, and switch searches to it as soon as it is complete.")
    ] = False,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Begin to change to another model. Searches use the old one until you switch; new documents get vectors of both."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        started = await api.post(CHANGES, {"to_model": name})
        if switch:
            started = await switch_when_complete(api, output, started)
        elif follow:
            started = await follow_change(api, output, started)
        _tell(output, started)
        return Exit.FAILED if started["state"] == "cancelled" else Exit.OK

    run_connected(output, url, home, work)


@app.command("status")
def status(*, follow: Follow = False, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Show how far the change of the model is: the open one, or else the last."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        changes = (await api.get(CHANGES))["items"]
        if not changes:
            if as_json:
                output.json({"change": None})
            else:
                output.line("No change of the model is known. Begin with docutalk models change MODEL")
            return Exit.OK
        latest = await follow_change(api, output, changes[0]) if follow else changes[0]
        if as_json:
            output.json({"change": latest})
        else:
            _tell(output, latest)
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("pause")
def pause(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Stop computing the new model's vectors for a while; nothing that is computed is lost."""
    _step("pause", url, home, as_json=as_json)


@app.command("resume")
def resume(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Go on where the change was paused."""
    _step("resume", url, home, as_json=as_json)


@app.command("switch")
def switch(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Let searches use the new model from now on. Every passage must have its vector."""
    _step("switch", url, home, as_json=as_json)


@app.command("roll-back")
def roll_back(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Let searches use the old model again. Nothing is lost: switching again is one command, too."""
    _step("roll-back", url, home, as_json=as_json)


@app.command("finish")
def finish(yes: Yes = False, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """End the change and drop the old model's vectors. After that there is no way back but another change."""
    if not yes:
        typer.confirm("Drop the old model's vectors? After that there is no rolling back.", abort=True, err=True)
    _step("finish", url, home, as_json=as_json)


@app.command("cancel")
def cancel(yes: Yes = False, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """End the change and drop the new model's vectors. Searches go on with the old one."""
    if not yes:
        typer.confirm("Drop the vectors that were computed for the new model?", abort=True, err=True)
    _step("cancel", url, home, as_json=as_json)


def _step(step: str, url: str | None, home: Path | None, *, as_json: bool) -> None:
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = await open_change(api)
        if found is None:
            raise ClientError("No model is being changed. Begin with docutalk models change MODEL")
        _tell(output, await api.post(f"{CHANGES}/{found['id']}/{step}", {}, timeout=STEP_SECONDS))
        return Exit.OK

    run_connected(output, url, home, work)


def _tell(output: Output, change: Json) -> None:
    if output.as_json:
        output.json(change)
    else:
        output.line(describe(change))
        if hint := NEXT_STEPS.get(change["state"]):
            output.note(hint)


def _row(model: Json) -> list[str | Text]:
    state = Text("serving", style="green") if model["is_serving"] else Text("registered")
    return [
        Text(model["name"], style="bold" if model["is_serving"] else ""),
        state,
        model["provider"],
        f"{model['dimension']:,}",
        f"{model['max_tokens']:,}",
        f"{model['passages']:,}",
    ]


def _not_ready(offers: list[Json]) -> Iterable[tuple[list[str], str]]:
    """Models that lack something, those that lack the same together: their names, and the reason of the first."""
    together: dict[str, tuple[list[str], str]] = {}
    for offer in offers:
        if not offer["is_ready"]:
            reason = str(offer["reason"])
            together.setdefault(reason.replace(offer["name"], ""), ([], reason))[0].append(offer["name"])
    return together.values()


def _offer(offer: Json) -> list[str | Text]:
    state = Text("can be added", style="dim")
    return [offer["name"], state, offer["provider"], f"{offer['dimension']:,}", f"{offer['max_tokens']:,}", "–"]
