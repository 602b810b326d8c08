# Commands for developers. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: help catalogues demo quick test check fix bench soak fuzz dist deb messages requirements clean

help:
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): tests/requirements.txt
	@PYTHON=$(PYTHON) sh .ci/packages base
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	touch $(STAMP)

# Compile the message catalogues: the programs read only compiled ones.
catalogues: $(STAMP)
	@$(BIN)/pybabel --quiet compile --domain agent --directory agent/locale --statistics
	@$(BIN)/pybabel --quiet compile --domain django --directory server/console/locale --statistics

demo: catalogues ## run server and client on this machine to try them; TOUR=1 follows the manual, DAY=29 begins on that day after a change
	@PYTHON=$(PYTHON) sh .ci/packages demo
	@$(BIN)/python -m $(if $(TOUR),demo.tour,demo) $(if $(DAY),--day='$(DAY)')

quick: catalogues ## run unit tests, lint and types in about a minute, without any Debian package
	@BIN=$(BIN) sh .ci/quick

test: catalogues ## install what is missing and run all checks and tests
	@BIN=$(BIN) sh .ci/test

check: $(STAMP) ## run lint, spelling, import rules and types only
	@BIN=$(BIN) sh .ci/check

fix: $(STAMP) ## sort imports and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: catalogues ## run a million hostile inputs; RUNS=… SEED=… choose how many and which
	$(BIN)/python -m fuzz $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED))

bench: catalogues ## measure client and server; ONLY=name measures one thing, SHORT=1 only tries it
	@$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(SHORT),--short)

soak: catalogues ## run the client for a simulated day and 20,000 reconnects, and check that nothing grows
	$(BIN)/python -m soak

dist: catalogues ## build the Windows program, its setup program and the MSI; FROZEN=… packs a program built on Windows
	@PYTHON=$(PYTHON) sh .ci/packages windows
	$(BIN)/python -m installer.build $(if $(FROZEN),--frozen $(FROZEN))

deb: $(STAMP) ## build the Debian package of the server
	@BIN=$(BIN) sh installer/debian/build dist

messages: $(STAMP) ## update the message catalogues from the code
	BIN=$(BIN) sh .ci/messages

requirements: $(STAMP) ## pin the dependencies of pyproject.toml; UPGRADE=1 takes the newest versions
	BIN=$(BIN) sh .ci/requirements $(if $(UPGRADE),--upgrade)

clean: ## remove everything that was made here
	rm -rf $(VENV) build dist .artifacts .hypothesis .mypy_cache .ruff_cache .pytest_cache .coverage .coverage.*
	find . -name '*.mo' -not -path './.venv/*' -delete
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	rm -rf *.egg-info
