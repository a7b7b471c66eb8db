# Two commands for a fresh clone:  make up  ·  make test
# Each installs what it needs, says what it is doing, and is quick the second time.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

BIN := .venv/bin
DEPLOYKIT := $(BIN)/python -m deploykit
EXAMPLE ?= flask
SPEC := examples/$(EXAMPLE)/deploykit.yaml

# `make test ARGS="-k weights"` runs some of the tests; `make up TARGET=docker` chooses the target.
ARGS ?=
# Files of tests that run side by side; most of their time is waiting for real servers.
JOBS ?= 3
TARGET ?=

.PHONY: help up down test long bench images tools lint clean

help: ## what can be made
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

up: .venv/for-up ## bring up examples/flask, run its checks, print its URL
	@echo "== deploykit up -f $(SPEC)"
	@$(DEPLOYKIT) up -f $(SPEC) $(if $(TARGET),--target $(TARGET))
	@echo "== it goes on running; make down removes it"

down: .venv/for-up ## remove what `make up` brought up
	@$(DEPLOYKIT) down -f $(SPEC)

test: .venv/for-test images tools ## all tests, with the real tools
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

long: .venv/for-test images tools ## what takes longer than `make test`: load, faults, kills at every effect
	@DEPLOYKIT_LONG=1 $(BIN)/python -m pytest -m slow tests tests/long_reloads.py $(ARGS)

bench: .venv/for-test images ## measure render, requests per second, and what releases under load lose
	@$(BIN)/python bench/run.py

images: .venv/for-test ## the base images of the docker target, from Debian's packages
	@.ci/need nginx=nginx mmdebstrap=mmdebstrap shellcheck=shellcheck docker-compose=docker-compose \
		/usr/lib/nginx/modules/ngx_http_upstream_fair_module.so=libnginx-mod-http-upstream-fair
	@.ci/engine
	@$(DEPLOYKIT) images build

tools: ## what only the tests need: a second Engine's network, ssh, a registry
	@.ci/need ip=iproute2 nsenter=util-linux docker=docker.io openssl=openssl gcc=gcc /usr/include/dlfcn.h=libc6-dev
	@.ci/need ssh=openssh-client sshd=openssh-server docker-registry=docker-registry htpasswd=apache2-utils

lint: .venv/for-test ## format, and say what the linters say
	@$(BIN)/ruff format .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

clean: ## remove the virtual environment and what tools left
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

# A stamp is newer than pyproject.toml where the environment has what that asks for.
.venv/for-up: pyproject.toml | .venv/bin/python
	@echo "== installing deploykit into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[nginx]'
	@touch $@

.venv/for-test: pyproject.toml | .venv/bin/python
	@echo "== installing deploykit and its test tools into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[nginx,dev]'
	@touch $@

.venv/bin/python:
	@python=$$(.ci/python); \
	echo "== making a virtual environment in .venv with $$($$python --version)"; \
	$$python -m venv .venv
