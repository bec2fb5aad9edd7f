"""Golden JSON of every contract: a change that nobody meant fails here, and what was written once can still be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from docutalk_common.asyncapi import all_messages
from docutalk_common.contracts.envelope import Contract, Envelope, Message
from docutalk_common.messaging.streams import DURABLES
from docutalk_common.testing import golden

FOLDER = Path(__file__).parent / "contracts"
CONTRACTS = golden.contracts()
HOW = (
    "The contract {name} changed. A field that was added with a default is fine: run "
    "`python -m docutalk_common.testing.golden tests/contracts` and commit the difference. "
    "Anything else breaks services that still run the old version: make it a new version of the message."
)


def test_every_contract_has_a_golden_file_and_every_file_a_contract() -> None:
    names = {path.stem for path in FOLDER.glob("*.json")}
    assert names == set(CONTRACTS), "run `python -m docutalk_common.testing.golden tests/contracts`"


@pytest.mark.parametrize("name", CONTRACTS)
def test_contract_is_what_its_golden_file_says(name: str) -> None:
    assert golden.text(CONTRACTS[name]) == (FOLDER / f"{name}.json").read_text(encoding="utf-8"), HOW.format(name=name)


@pytest.mark.parametrize("name", CONTRACTS)
def test_golden_file_can_be_read_and_loses_nothing(name: str) -> None:
    written = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    read = CONTRACTS[name].model_validate_json(written)
    again = json.loads(read.model_dump_json())
    for field, value in json.loads(written).items():
        assert again[field] == value, HOW.format(name=name)


@pytest.mark.parametrize("name", CONTRACTS)
def test_unknown_fields_are_ignored(name: str) -> None:
    body = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    model = CONTRACTS[name]
    assert model.model_validate(body | {"from_the_future": 1}) == model.model_validate(body)


@pytest.mark.parametrize("model", all_messages(), ids=lambda model: model.type)
def test_message_names_its_owner_kind_and_subject(model: type[Message]) -> None:
    owner, _entity, _verb, version = model.type.split(".")
    assert owner == model.owner
    assert version.startswith("v")
    message = model.model_validate(golden.sample(model))
    assert str(message.workspace_id) in message.subject().split(".")
    assert message.subject().startswith(model.subject_filter().split("*")[0])
    assert len(message.subject().split(".")) == len(model.subject_filter().split("."))
    assert model.__doc__


def test_every_durable_takes_a_message_that_has_a_golden_file() -> None:
    taken = {entry.contract for entry in DURABLES}
    assert taken <= set(CONTRACTS.values())


def test_sample_is_the_same_in_every_run_and_valid() -> None:
    assert golden.sample(Envelope) == golden.sample(Envelope)

    class Wrong(Contract):
        field: complex

    with pytest.raises(TypeError, match=r"Wrong\.field"):
        golden.sample(Wrong)
