"""`docutalk check`: names every missing or wrong setting before anything starts."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from docutalk_common.messaging.streams import SERVICES, ServiceName
from docutalk_common.settings import ServiceSettings
from docutalk_local import nats_server, object_storage, postgres
from docutalk_local.home import Home
from docutalk_local.ports import is_free
from docutalk_local.stack import settings_for
from email_validator import EmailNotValidError, validate_email
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError
from rich.console import Console
from rich.markup import escape

_NEEDED_BYTES = 2 << 30
_MODEL_PROVIDERS = ("auto", "openai", "anthropic", "ollama", "none")
_SMALLEST_CONTEXT = 1024
_SHORTEST_PASSWORD = 8
_TOO_SMALL_PORT = 1024


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `ok` is False when DocuTalk would not start or not work as intended."""

    subject: str
    ok: bool
    message: str


def check(
    service: Annotated[
        str | None, typer.Option(help="Look at the environment of this one service instead: " + ", ".join(SERVICES) + ".")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="The state folder. \\[default: .docutalk]", envvar="DOCUTALK_HOME", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Name every missing or wrong setting, without starting anything. Exit code 1 when there is one."""
    if service is not None and service not in SERVICES:
        raise typer.BadParameter(f"{service!r} is none of {', '.join(SERVICES)}", param_hint="--service")
    findings = _once(of_service(service) if service is not None else of_machine(Home.at(home), os.environ))
    if as_json:
        typer.echo(json.dumps({"ok": all(f.ok for f in findings), "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        _show(findings)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


def of_machine(home: Home, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Everything that `docutalk up` relies on."""
    yield Finding("Python", sys.version_info >= (3, 11), f"{sys.version.split()[0]} (3.11 or newer is needed)")
    yield from _programs()
    yield from _state_folder(home)
    yield _port(environment.get("DOCUTALK_PORT") or "8000", home)
    yield from _administrator(environment)
    yield from _model(environment)
    yield from _embeddings(environment)
    yield from _files(environment)
    for service in SERVICES:
        yield from _own_settings(service, environment)
    yield from _misspelled(environment)


def _once(findings: Iterable[Finding]) -> list[Finding]:
    """What is wrong with a setting is said once, though several services read it."""
    kept: dict[str, Finding] = {}
    for finding in findings:
        if kept.setdefault(finding.subject, finding).ok and not finding.ok:
            kept[finding.subject] = finding
    return list(kept.values())


def of_service(service: str) -> Iterator[Finding]:
    """Every setting of one service, read from this process's environment as the service would."""
    try:
        settings = _settings_class(service)
    except ModuleNotFoundError as error:
        yield Finding(service, False, f"not installed here: {error}")
        return
    try:
        settings()
    except ValidationError as error:
        names = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
        for detail in error.errors():
            yield Finding(_variable(settings, detail["loc"]), False, _reason(detail["type"], detail["msg"]))
        for name in settings.model_fields:
            if name not in names:
                yield Finding(_variable(settings, (name,)), True, "fine")
    except OSError as error:
        for name in settings.model_fields:
            variable = f"{_variable(settings, (name,))}_FILE"
            if os.environ.get(variable) == str(error.filename):
                yield Finding(variable, False, f"can't read {error.filename}: {error.strerror}")
    except SettingsError as error:
        yield Finding(service, False, str(error))
    else:
        for name in settings.model_fields:
            yield Finding(_variable(settings, (name,)), True, "fine")


def _programs() -> Iterator[Finding]:
    programs: Mapping[str, Callable[[], Path]] = {
        "PostgreSQL": lambda: postgres.binary("postgres"),
        "NATS": nats_server.binary,
        "Object storage": object_storage.binary,
    }
    for name, find in programs.items():
        path = find()
        there = os.access(path, os.X_OK)
        yield Finding(name, there, str(path) if there else f"{path} is missing; install the requirements again")


def _state_folder(home: Home) -> Iterator[Finding]:
    existing = next(folder for folder in (home.folder, *home.folder.parents) if folder.exists())
    if not os.access(existing, os.W_OK | os.X_OK) or not existing.is_dir():
        yield Finding("DOCUTALK_HOME", False, f"{home.folder}: can't write into {existing}")
        return
    yield Finding("DOCUTALK_HOME", True, str(home.folder))
    free = shutil.disk_usage(existing).free
    enough = free >= _NEEDED_BYTES
    yield Finding("Disk space", enough, f"{free / (1 << 30):.1f} GiB free; at least {_NEEDED_BYTES >> 30} GiB are needed")


def _port(text: str, home: Home) -> Finding:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        return Finding("DOCUTALK_PORT", False, f"{text!r} is not a port; take a number from 1 to 65535")
    port = int(text)
    if port < _TOO_SMALL_PORT and os.geteuid() != 0:
        return Finding("DOCUTALK_PORT", False, f"port {port} needs root; take one from {_TOO_SMALL_PORT} up")
    if is_free(port):
        return Finding("DOCUTALK_PORT", True, f"port {port} is free")
    if (holder := home.holder()) is not None:
        return Finding("DOCUTALK_PORT", True, f"port {port} is in use, and DocuTalk runs on this folder (process {holder})")
    return Finding("DOCUTALK_PORT", False, f"port {port} is in use by another program; choose another one")


def _administrator(environment: Mapping[str, str]) -> Iterator[Finding]:
    if email := environment.get("DOCUTALK_ADMIN_EMAIL"):
        try:
            validate_email(email, check_deliverability=False, test_environment=True, globally_deliverable=False)
        except EmailNotValidError as error:
            yield Finding("DOCUTALK_ADMIN_EMAIL", False, f"{email!r} is not an address: {error}")
        else:
            yield Finding("DOCUTALK_ADMIN_EMAIL", True, email)
    if password := environment.get("DOCUTALK_ADMIN_PASSWORD"):
        fine = len(password) >= _SHORTEST_PASSWORD
        yield Finding("DOCUTALK_ADMIN_PASSWORD", fine, "set" if fine else f"shorter than {_SHORTEST_PASSWORD} characters")


def _model(environment: Mapping[str, str]) -> Iterator[Finding]:
    yield from _address("DOCUTALK_LLM_BASE_URL", environment)
    provider = environment.get("DOCUTALK_LLM_PROVIDER") or "auto"
    if provider not in _MODEL_PROVIDERS:
        yield Finding("DOCUTALK_LLM_PROVIDER", False, f"{provider} is none of {', '.join(_MODEL_PROVIDERS)}")
    if tokens := environment.get("DOCUTALK_LLM_CONTEXT_TOKENS"):
        fine = tokens.isdecimal() and int(tokens) >= _SMALLEST_CONTEXT
        yield Finding("DOCUTALK_LLM_CONTEXT_TOKENS", fine, tokens if fine else f"not a number of at least {_SMALLEST_CONTEXT}")
    if provider == "none":
        yield Finding("Language model", True, "none is wanted: answers are sentences taken from the documents")
        return
    url = environment.get("DOCUTALK_LLM_BASE_URL")
    if url and not environment.get("DOCUTALK_LLM_MODEL"):
        yield Finding("DOCUTALK_LLM_MODEL", True, "not set: the first model that the address lists is used")
    usual = {"openai": ["OPENAI_API_KEY"], "anthropic": ["ANTHROPIC_API_KEY"]}
    keys = ["DOCUTALK_LLM_API_KEY", *usual.get(provider, ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"])]
    if url or any(environment.get(name) or environment.get(f"{name}_FILE") for name in keys):
        return
    if provider in usual:
        yield Finding(keys[1], False, f"not set, and DOCUTALK_LLM_PROVIDER is {provider}: set the key, or an address")
    else:
        message = "none is configured: an Ollama that runs here is used, else answers are sentences of the documents"
        yield Finding("Language model", True, message)


def _embeddings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Where further models for searching come from."""
    yield from _address("DOCUTALK_EMBED_ENDPOINT_URL", environment)
    if folder := environment.get("DOCUTALK_EMBED_MODELS_FOLDER"):
        fine = Path(folder).is_dir() and os.access(folder, os.R_OK | os.X_OK)
        message = folder if fine else f"{folder} is no folder that can be read: make it, with a folder for each model in it"
        yield Finding("DOCUTALK_EMBED_MODELS_FOLDER", fine, message)
    key = "DOCUTALK_EMBED_ENDPOINT_API_KEY"
    if (environment.get(key) or environment.get(f"{key}_FILE")) and not environment.get("DOCUTALK_EMBED_ENDPOINT_URL"):
        yield Finding("DOCUTALK_EMBED_ENDPOINT_URL", False, f"not set, and {key} is: say where the key is meant for")


def _address(name: str, environment: Mapping[str, str]) -> Iterator[Finding]:
    if url := environment.get(name):
        try:
            parts = urlsplit(url)
            fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fine = False
        # Where an address carries a login, findings are no place for it.
        shown = re.sub(r"//[^/]*@", "//…@", url)
        yield Finding(name, fine, shown if fine else f"{shown!r} is not an address like https://host/v1")


def _files(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name, value in environment.items():
        if name.endswith("_FILE") and name.startswith(("DOCUTALK_", "OPENAI_", "ANTHROPIC_")):
            fine = os.access(value, os.R_OK)
            yield Finding(name, fine, value if fine else f"can't read {value}")


def _own_settings(service: ServiceName, environment: Mapping[str, str]) -> Iterator[Finding]:
    """The settings of a service that a person set; those that `docutalk up` fills in are not theirs to get wrong."""
    chosen = {name for name, _ in settings_for(service, environment)}
    problems = [f for f in of_service(service) if not f.ok and f.subject in {*chosen, service}]
    yield from problems
    if not problems:
        yield Finding(f"Settings of {service}", True, "fine")


def _misspelled(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Names that nothing reads and that look like one that something does."""
    known = {"DOCUTALK_HOME", "DOCUTALK_PORT"}
    for service in SERVICES:
        with contextlib.suppress(ModuleNotFoundError):
            settings = _settings_class(service)
            known |= {_variable(settings, (name,)) for name in settings.model_fields}
    # Of these a deployment has one for each service.
    many = ("DOCUTALK_POSTGRES_", "DOCUTALK_NATS_", "DOCUTALK_S3_")
    for name in environment:
        plain = name.removesuffix("_FILE")
        if plain.startswith("DOCUTALK_") and plain not in known and not plain.startswith(many):
            near = difflib.get_close_matches(plain, sorted(known), n=1, cutoff=0.85)
            if near:
                yield Finding(name, False, f"nothing reads it; {near[0]} was probably meant")


def _settings_class(service: str) -> type[BaseSettings]:
    """The settings class that the service's module of that name defines."""
    module = importlib.import_module(f"docutalk_{service}.settings")
    return next(
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, ServiceSettings) and found.__module__ == module.__name__
    )


def _variable(settings: type[BaseSettings], location: tuple[int | str, ...]) -> str:
    """The environment variable of a field, however pydantic names it."""
    name = str(location[0]) if location else ""
    field = settings.model_fields.get(name)
    if field is None:
        return name.upper()
    alias = field.validation_alias
    return alias.upper() if isinstance(alias, str) else f"DOCUTALK_{name.upper()}"


def _reason(kind: str, message: str) -> str:
    return "not set" if kind == "missing" else message


def _show(findings: list[Finding]) -> None:
    console = Console()
    for finding in findings:
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        console.print(f"{mark} [bold]{escape(finding.subject)}[/]: {escape(finding.message)}", soft_wrap=True, highlight=False)
    wrong = sum(not finding.ok for finding in findings)
    console.print("\nEverything is fine." if not wrong else f"\n{wrong} to put right.")
