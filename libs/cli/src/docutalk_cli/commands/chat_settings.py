"""`docutalk chat-settings`: how a workspace's questions are answered."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.client import Api, Json
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, run_in_workspace
from docutalk_cli.output import Exit, Output


class Setting(StrEnum):
    """What can be chosen."""

    MODEL = "model"
    TEMPERATURE = "temperature"
    PASSAGES = "passages"


def chat_settings(
    *,
    model: Annotated[str | None, typer.Option("--model", help="Which model answers; --models lists them.")] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0, max=2, help="How freely it writes: 0 always much the same.")
    ] = None,
    passages: Annotated[int | None, typer.Option("--passages", min=1, max=50, help="From how many an answer is made.")] = None,
    default: Annotated[
        list[Setting] | None, typer.Option("--default", help="Back to the installation's own; may be repeated.")
    ] = None,
    models: Annotated[bool, typer.Option("--models", help="List the models that can answer.")] = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show or change how a workspace's questions are answered. Only owners change it."""
    output = Output(as_json=as_json)
    given = {Setting.MODEL: model, Setting.TEMPERATURE: temperature, Setting.PASSAGES: passages}
    changes: Json = {name.value: value for name, value in given.items() if value is not None}
    for setting in default or []:
        if changes.get(setting.value) is not None:
            raise typer.BadParameter(f"give either --{setting.value} or --default {setting.value}", param_hint="--default")
        changes[setting.value] = None
    if models and changes:
        raise typer.BadParameter("list the models, or change something", param_hint="--models")

    async def work(api: Api, workspace_id: str) -> Exit:
        path = f"/workspaces/{workspace_id}/chat"
        if models:
            _show_models(output, await api.get(f"{path}/models"), await api.get(f"{path}/settings"))
            return Exit.OK
        settings = await api.patch(f"{path}/settings", changes) if changes else await api.get(f"{path}/settings")
        if as_json:
            output.json(settings)
        else:
            usual = (await api.get(f"{path}/models"))["default"] if settings["model"] is None else None
            _show(output, settings, usual)
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


def _show(output: Output, settings: Json, usual_model: str | None) -> None:
    for setting in Setting:
        value = settings[setting.value]
        own = f"{usual_model} (the installation's own)" if setting is Setting.MODEL else "the installation's own"
        output.line(Text.assemble((f"{setting.value:<13}", "bold"), own if value is None else f"{value}"))


def _show_models(output: Output, models: Json, settings: Json) -> None:
    if output.as_json:
        output.json(models)
        return
    chosen = settings["model"] or models["default"]
    for name in models["items"]:
        output.line(Text(f"{name} *" if name == chosen else name, style="bold" if name == chosen else ""))
    if not models["complete"]:
        output.note(f"{models['provider']} does not tell its models at the moment. Any name that it knows can be chosen.")
