# Short names for developers; each is one command that also works without make.
PYTHON ?= python3
BIN := .venv/bin
CATALOGUE := labkit/locale/es/LC_MESSAGES/labkit.po

.PHONY: help demo test fast lint format messages constraints notebooks environment clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

demo:  ## three workers, one of them killed, on real photos
	$(PYTHON) lab.py demo

test:  ## everything, as CI runs it
	$(PYTHON) lab.py test

fast:  ## what needs no cluster and no network: the loop while writing code
	$(PYTHON) lab.py test tests/unit tests/simulated -m "not slow"

lint: environment  ## style, layout and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: environment  ## put imports in order, and lay the code out
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

messages: environment  ## bring the Spanish catalogue up to date with the code, then say what is missing in it
	$(BIN)/pybabel -q extract --no-default-keywords --keywords="_ N_ ngettext:1,2" --no-wrap --sort-by-file \
		--add-location=file --project=labkit --version=1 --msgid-bugs-address= \
		-o .venv/labkit.pot $(wildcard labkit workers benchmarks lab.py)
	$(BIN)/pybabel -q update --locale=es --no-wrap --no-fuzzy-matching --ignore-obsolete \
		--ignore-pot-creation-date -i .venv/labkit.pot -o $(CATALOGUE)
	$(PYTHON) lab.py test -n 0 -q tests/unit/support/test_i18n.py

constraints: $(BIN)/uv  ## pin all that requirements.txt pulls in, on every system; UPGRADE=--upgrade takes the newest
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest $(UPGRADE) \
		--custom-compile-command "make constraints" -o constraints.txt requirements.txt

# No environment is made for it where one exists: it could not be made from requirements that contradict constraints.txt.
$(BIN)/uv:
	@$(MAKE) --no-print-directory environment

notebooks: environment  ## build the course from notebooks/source and run it, in both languages
	$(BIN)/python notebooks/build.py

environment:
	@$(PYTHON) lab.py test --version -n 0 >/dev/null

clean:  ## remove the environment and all caches
	rm -rf .venv .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
