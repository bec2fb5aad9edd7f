# Everything runs from .venv, made from the hashed lock; nothing else is needed than Python 3.11+, make and a package index.
PYTHON ?= python3
VENV := .venv
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

lock: ## resolve the requirements again (needs uv)
	uv pip compile pyproject.toml --group dev --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
	  $(foreach p,common gateway ingest embed chat cli local,--no-emit-package docutalk-$(p)) \
	  --custom-compile-command "make lock" --quiet --output-file requirements.lock

.PHONY: help install run lock
