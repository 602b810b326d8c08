# The commands of a developer's day. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
CATALOGUES := agent/locale server/console/locale

.PHONY: help catalogues demo test check fix bench soak dist messages requirements clean fuzz

help:
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): tests/requirements.txt
	@PYTHON=$(PYTHON) sh .ci/packages base
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	touch $(STAMP)

# Compiled message catalogues, which the programs read.
catalogues: $(STAMP)
	@$(BIN)/pybabel --quiet compile --domain agent --directory agent/locale --statistics
	@$(BIN)/pybabel --quiet compile --domain django --directory server/console/locale --statistics

demo: catalogues ## run server and client here, to try out; TOUR=1 walks through the manual by itself
	@PYTHON=$(PYTHON) sh .ci/packages demo
	@$(BIN)/python -m $(if $(TOUR),demo.tour,demo)

test: catalogues ## set up and run all checks and tests
	@PYTHON=$(BIN)/python sh .ci/test

fuzz: catalogues ## a million hostile inputs; RUNS=… SEED=… choose how many and which
	$(BIN)/python -m fuzz $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED))

check: catalogues ## lint and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy

fix: $(STAMP) ## sort imports and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: catalogues ## measure client and server; ONLY=name measures one thing, SHORT=1 only tries it
	@$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(SHORT),--short)

soak: catalogues ## run the client for a squeezed day and for 20,000 reconnects, and see that nothing grows
	$(BIN)/python -m soak

dist: catalogues ## build the Windows program, its setup program and the MSI
	$(BIN)/python -m installer.build

messages: $(STAMP) ## bring the message catalogues up to date with the code
	sh .ci/messages

requirements: $(STAMP) ## pin the dependencies of pyproject.toml; UPGRADE=1 takes the newest versions
	sh .ci/requirements $(if $(UPGRADE),--upgrade)

clean: ## remove what was made here
	rm -rf $(VENV) build dist .artifacts .mypy_cache .ruff_cache .pytest_cache
	find . -name '*.mo' -not -path './.venv/*' -delete
