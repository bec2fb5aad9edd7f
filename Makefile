# Everything runs from .venv, made from the hashed lock; nothing else is needed than Python 3.11+, make and a package index.
PYTHON ?= python3
VENV := .venv
# Each process of the tests has servers of its own, and half a gigabyte of memory goes with them. Three keep two cores busy.
TEST_PROCESSES ?= 3
BIN := $(VENV)/bin
MEMBERS := libs/common services/gateway services/ingest services/embed services/chat deploy/local libs/cli

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

$(VENV)/.installed: requirements.lock $(foreach m,$(MEMBERS),$(m)/pyproject.toml)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked requirements (about a minute the first time) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation $(foreach m,$(MEMBERS),-e $(m))
	@touch $@

install: $(VENV)/.installed ## make .venv and install everything into it

run: install ## start DocuTalk with embedded servers on http://127.0.0.1:8000
	@$(BIN)/docutalk up

lint: install ## format, lint, types, layers, house rules
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy $(foreach m,$(MEMBERS),$(m)/src)
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python tests/house_rules.py

contracts: install ## goldens, OpenAPI, AsyncAPI: committed files are true and break nothing
	@$(BIN)/python -m docutalk_common.asyncapi --check
	@$(BIN)/pytest -q tests/test_contracts.py tests/test_openapi.py

test: lint ## lint and every test, those of the contracts too (real embedded servers, TEST_PROCESSES=3)
	@$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-containers: install ## the integration tests against PostgreSQL, NATS and MinIO in containers
	@DOCUTALK_TEST_BACKEND=containers $(BIN)/pytest libs/common/tests services \
	  tests/local/test_messaging_rights.py tests/local/test_provisioning.py tests/local/test_provision_command.py

images: ## build the container images
	docker compose build

prove-compose: install ## FILE=report.pdf QUESTION="…": go through a running `docker compose up`
	@$(BIN)/python tests/containers/prove_compose.py "$(FILE)" "$(QUESTION)"

format: install ## format and mend what can be mended
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

lock: ## resolve the requirements again (needs uv)
	uv pip compile pyproject.toml --group dev --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
	  $(foreach p,common gateway ingest embed chat cli local,--no-emit-package docutalk-$(p)) \
	  --custom-compile-command "make lock" --quiet --output-file requirements.lock
	sh deploy/docker/lock
	$(BIN)/python deploy/docker/nats_config.py

.PHONY: help install run lint contracts test test-containers images prove-compose format lock
