# Each target is the only command needed on a machine with Python 3.11 to 3.14 and make.
PYTHON ?= python3
FITS = $(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 15) else f"found Python {v[0]}.{v[1]}, expected 3.11 to 3.14; run make PYTHON=python3.12")'
BENCH := .venv-bench
TUNIX := .venv-bench-tunix
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PARITY := .venv-parity
FACTOR ?= 100
PARITY_READY := $(PARITY)/.ready
BROWSER := .venv-browser
BROWSER_READY := $(BROWSER)/.ready
MUTATION := .venv-mutation
MUTATION_READY := $(MUTATION)/.ready
FOREIGN := .venv-foreign
FOREIGN_READY := $(FOREIGN)/.ready
ADOPT := .venv-adopt
ADOPT_READY := $(ADOPT)/.ready
MANIFEST := .venv-manifest
MANIFEST_READY := $(MANIFEST)/.ready
PLAN := .venv-plan
PLAN_READY := $(PLAN)/.ready
# Where the example's paths say that it was made.
EXAMPLE_CLONE ?= /tmp/m43-example

.PHONY: rehearsal test fuzz lint types contracts parity browser example verify-example real faults faults-quick lies coverage mutation matrix pair newest check lock clean plan-here plan-cards

rehearsal: $(READY)  ## all four gates on a toy Gemma: no GPU, no token
	@$(BIN)/python -m m43.harness.pytest_start rehearsal
	$(BIN)/python -m pytest acceptance -m rehearsal

.PHONY: rehearsal-many launchers
MANY := $(BIN)/python -m pytest acceptance -m rehearsal --m43-profile=tests/launch
rehearsal-many: $(READY)  ## the rehearsal by two processes of two devices each, started as a Job's pods are
	$(BIN)/python -m tests.launch.pods $(MANY)/pods.toml

launchers: $(READY)  ## the same by mpirun and by Slurm, then harm that is done to such runs; needs both, and root
	$(MANY)/mpirun.toml
	$(BIN)/python -m tests.launch.slurm $(MANY)/slurm.toml
	$(BIN)/python -m pytest -p no:cacheprovider tests/launch

.PHONY: manifest
manifest: $(MANIFEST_READY)  ## the Kubernetes manifest against the published schemas
	$(MANIFEST)/bin/kubernetes-validate --strict tools/kubernetes/job.yaml

test: $(READY)  ## the unit tests, in three parts, two at a time
	@echo "the unit tests, in three parts, two at a time; some minutes"
	@$(MAKE) --no-print-directory -j2 --output-sync=target test-runs test-child test-judge

# The child's tests load JAX, the judge's never do; those of runs wait most for other processes.
.PHONY: test-runs test-child test-judge
CHILD_TESTS := tests/unit/core tests/unit/training
RUN_TESTS := tests/unit/harness
test-child: $(READY)
	$(BIN)/python -m pytest $(CHILD_TESTS)
test-runs: $(READY)
	$(BIN)/python -m pytest $(RUN_TESTS)
test-judge: $(READY)
	$(BIN)/python -m pytest tests/unit $(addprefix --ignore=,$(CHILD_TESTS) $(RUN_TESTS))

fuzz: $(READY)  ## the properties about bad input, with FACTOR times as many examples, other ones each time
	M43_FUZZ=$(FACTOR) $(BIN)/python -m pytest tests/unit -m hostile --timeout 3600 --hypothesis-show-statistics

lint: $(READY)  ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## types
	$(BIN)/mypy

contracts: $(READY)  ## the arrows of the design
	$(BIN)/lint-imports

parity: $(PARITY_READY)  ## the model against torch, transformers and PEFT, live
	$(PARITY)/bin/python -m pytest tests/parity

faults: $(READY)  ## every fault of the matrix, done for real, and what each left; needs root
	@rm -rf .fault-record
	@status=0; \
	$(MAKE) --no-print-directory --keep-going -j2 faults-outside faults-inside || status=1; \
	$(BIN)/python -m tests.faults || status=1; \
	exit $$status

# Two streams of about the same length.
FAULTS := $(BIN)/python -m pytest -p no:cacheprovider
OUTSIDE := $(addprefix tests/faults/,test_signals.py test_power_cut.py test_twins_and_clock.py)
.PHONY: faults-outside faults-inside faults-quick-outside faults-quick-inside
faults-outside: $(READY)
	$(FAULTS) $(OUTSIDE)
faults-inside: $(READY)
	$(FAULTS) tests/faults $(addprefix --ignore=,$(OUTSIDE))

.PHONY: bench
bench: $(READY) $(BENCH)/.ready $(TUNIX)/.ready  ## speed and memory beside rivals: M43_GEMMA_270M=FOLDER make bench
	$(BIN)/python -m tests.benchmarks --out bench.json

.PHONY: bench-many
bench-many: $(READY)  ## one model over two processes beside one: make bench-many MODEL=FOLDER of Gemma 3 270M
	M43_GEMMA_270M="$(MODEL)" $(BIN)/python -m pytest -s tests/benchmarks/test_many.py

faults-quick: $(READY)  ## the part of the matrix that CI has time for, and needs no rights
	@rm -rf .fault-record
	@status=0; \
	$(MAKE) --no-print-directory --keep-going -j2 faults-quick-outside faults-quick-inside || status=1; \
	$(BIN)/python -m tests.faults --quick || status=1; \
	exit $$status
faults-quick-outside: $(READY)
	$(FAULTS) -m quick $(OUTSIDE)
faults-quick-inside: $(READY)
	$(FAULTS) -m quick tests/faults $(addprefix --ignore=,$(OUTSIDE))

.PHONY: world world-quick
WORLD := $(BIN)/python -m pytest -p no:cacheprovider tests/world
world: $(READY)  ## m43 in namespaces that answer under the real names, good worlds and bad ones; needs root
	$(WORLD)
world-quick: $(READY)  ## the part of it that CI has time for; it names what it leaves out; needs root
	$(WORLD) -m quick

real: $(PARITY_READY)  ## published weights: make real MODEL=FOLDER RUN=RUN_DIR
	M43_REAL_MODEL="$(MODEL)" M43_REAL_RUN="$(RUN)" $(PARITY)/bin/python -m pytest -s tests/real

VERDICT_TESTS := tests/unit/evidence/contract/test_verdict.py \
  $(addprefix tests/unit/evidence/journal/,test_chain.py test_journal.py test_ledger.py \
  test_manifest.py test_secrets.py)

coverage: $(READY)  ## every branch of verdict, journal, manifest and secrets
	$(BIN)/python -m coverage run -m pytest -q $(VERDICT_TESTS)
	$(BIN)/python -m coverage report

mutation: $(MUTATION_READY)  ## every small change of the same code, and whether a test notices
	$(MUTATION)/bin/mutmut run
	$(MUTATION)/bin/python -m tests.mutation

.PHONY: foreign
foreign: $(FOREIGN_READY)  ## pytest's plugins that repeat, reorder and share out tests: each is refused
	$(FOREIGN)/bin/python -m pytest -p no:xdist -p no:randomly -p no:rerunfailures tests/foreign

.PHONY: adopt
adopt: $(READY) $(ADOPT_READY)  ## m43 as a wheel, in an empty repository: init, an accepted rehearsal, verify
	@rm -rf $(ADOPT)/wheel
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w $(ADOPT)/wheel .
	@$(ADOPT)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall $(ADOPT)/wheel/*.whl
	M43_ADOPTED="$(CURDIR)/$(ADOPT)/bin/python" $(BIN)/python -m pytest tests/adopt --timeout 900

lies: $(READY)  ## every file of a good run damaged in every way; verify names each
	$(BIN)/python -m pytest tests/lies

browser: $(READY) $(BROWSER_READY)  ## report and verifier in a real browser (needs Chromium, and npm once)
	@command -v chromium chromium-browser google-chrome | grep -q . || { \
	  echo "found no Chromium, expected one on the PATH; Debian: apt-get install chromium"; exit 1; }
	$(BROWSER)/bin/python -m pytest tests/browser --timeout 1200

.PHONY: verifier
verifier:  ## the page on which verify runs in a browser, into verifier/ (needs npm, once; no packages)
	@$(FITS)
	@$(PYTHON) -m tools.verifier verifier

plan-here: $(READY)  ## the plan against real steps on this CPU: make plan-here MODEL=FOLDER of Gemma 3 270M
	M43_GEMMA_270M="$(MODEL)" $(BIN)/python -m pytest -s tests/benchmarks/test_plan.py

plan-cards: $(PLAN_READY)  ## the plan for cards that need not be here; 5 GB of compiler
	$(PLAN)/bin/python -m pytest -s tests/benchmarks/test_cards.py

example:  ## submission_runs/example_rehearsal and README's pictures again, from a clean clone
	@test -z "$$(git status --porcelain)" || { \
	  echo "found uncommitted changes, expected a commit that the example can name: commit first"; \
	  exit 1; }
	rm -rf $(EXAMPLE_CLONE)
	git clone --quiet --no-checkout . $(EXAMPLE_CLONE)
	@# Without the example of before: a run never takes the place of another.
	git -C $(EXAMPLE_CLONE) sparse-checkout set --no-cone '/*' '!/submission_runs/example_rehearsal/'
	git -C $(EXAMPLE_CLONE) checkout --quiet
	$(MAKE) -C $(EXAMPLE_CLONE) $(READY)
	cd $(EXAMPLE_CLONE) && $(BIN)/python -m pytest acceptance -m rehearsal --m43-run example_rehearsal
	rm -rf submission_runs/example_rehearsal
	cp -r $(EXAMPLE_CLONE)/submission_runs/example_rehearsal submission_runs/
	rm submission_runs/example_rehearsal/model/*.safetensors
	$(MAKE) verify-example $(BROWSER_READY)
	$(BROWSER)/bin/python -m tests.browser.take_screenshots \
	  submission_runs/example_rehearsal/report.html submission_runs/screenshots

verify-example: $(READY)  ## the example that is committed, every claim of it, its weights left out
	$(BIN)/python -m m43 verify --without-weights submission_runs/example_rehearsal

# The lock gives each Python its own jax and flax; each pair has an environment of its own.
PAIRS := 3.11 3.12 3.13 3.14
M43_MATRIX ?= $(PAIRS)
# The first that starts: the name on the PATH may be pyenv's, for a version that is switched off.
interpreter = $(shell for python in python$(1) "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$(1).*/bin/python$(1); \
  do "$$python" -c pass 2>/dev/null && { command -v "$$python"; break; }; done)
in-pair = $(MAKE) --no-print-directory VENV=.venv-matrix-$(1) PYTHON="$(call interpreter,$(1))"
NEWEST = $(lastword $(foreach version,$(PAIRS),$(if $(call interpreter,$(version)),$(version))))

matrix:  ## every pair: the child's tests and a rehearsal; M43_MATRIX="3.11 3.12" names fewer pairs
	@test -n "$(strip $(M43_MATRIX))" || { echo "found no pair in M43_MATRIX, expected some of $(PAIRS)"; exit 1; }
	@status=0; $(foreach version,$(M43_MATRIX),$(if $(call interpreter,$(version)), \
	  $(call in-pair,$(version)) pair || status=1;, \
	  echo "found no Python $(version), expected python$(version) on the PATH or in pyenv's folder;" \
	    "M43_MATRIX=\"...\" names fewer pairs"; status=1;)) exit $$status

pair: $(READY)
	@$(BIN)/python -c 'import platform, flax, jax; print("Python", platform.python_version(), "jax", jax.__version__, "flax", flax.__version__)'
	@$(MAKE) --no-print-directory test-child rehearsal

# Newer jaxlibs compile toys slowly, and decoding compiles most.
QUICK_CHILD := tests/unit/core --ignore=tests/unit/core/test_decode.py
newest: $(READY)  ## the newest pair whose Python is here: lint, the child's quick tests and a rehearsal
	@echo "the newest pair: Python $(NEWEST); looked for $(PAIRS)"
	@if $(BIN)/python -c 'import sys; sys.exit("$(NEWEST)" != "%d.%d" % sys.version_info[:2])'; then \
	  echo "it is that of $(VENV), where everything else runs"; \
	else $(call in-pair,$(NEWEST)) lint newest-child rehearsal; fi

.PHONY: newest-child
newest-child: $(READY)
	$(BIN)/python -m pytest $(QUICK_CHILD)

check: lint types contracts test rehearsal rehearsal-many adopt newest faults-quick world-quick coverage parity verify-example  ## what CI runs

lock:  ## write requirements.lock again (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --extra dev --quiet pyproject.toml -o requirements.lock

# An environment of its own: torch must never come into the one that trains.
$(PARITY_READY): requirements.lock pyproject.toml
	@test -x $(PARITY)/bin/python || $(PYTHON) -m venv $(PARITY)
	@$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[parity]'
	@touch $@

# What drives the browser is not what trains, and not what judges.
$(BROWSER_READY): pyproject.toml
	@test -x $(BROWSER)/bin/python || $(PYTHON) -m venv $(BROWSER)
	@$(BROWSER)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[browser]'
	@touch $@

$(MANIFEST_READY): pyproject.toml
	@test -x $(MANIFEST)/bin/python || $(PYTHON) -m venv $(MANIFEST)
	@$(MANIFEST)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[manifest]'
	@touch $@

$(MUTATION_READY): pyproject.toml
	@test -x $(MUTATION)/bin/python || $(PYTHON) -m venv $(MUTATION)
	@$(MUTATION)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[mutation]'
	@touch $@

# As a person's who has nothing but the wheel: the lock's packages, and no m43 yet.
$(ADOPT_READY): requirements.lock
	@test -x $(ADOPT)/bin/python || $(PYTHON) -m venv $(ADOPT)
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --python $(ADOPT)/bin/python --require-hashes -r requirements.lock; \
	else \
	  $(ADOPT)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
	fi
	@touch $@

$(FOREIGN_READY): pyproject.toml
	@test -x $(FOREIGN)/bin/python || $(PYTHON) -m venv $(FOREIGN)
	@$(FOREIGN)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[foreign]'
	@touch $@

# The compiler for cards: as large as it is, only where somebody plans for one.
$(PLAN_READY): requirements.lock pyproject.toml
	@test -x $(PLAN)/bin/python || $(PYTHON) -m venv $(PLAN)
	@$(PLAN)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(PLAN)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[cuda13]'
	@touch $@

clean:  ## remove what the tools left; runs and .venv stay
	rm -rf .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

# uv when there is one, pip when not; the versions and the hashes are the same.
$(READY): requirements.lock pyproject.toml
	@$(FITS)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@$(BIN)/python -m compileall -q m43/__init__.py m43/__main__.py  # `m43 checklist` writes nothing
	@touch $@

# The rivals' environments: neither trains a run, and the two do not get on with each other.
$(BENCH)/.ready: pyproject.toml
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

$(TUNIX)/.ready: tests/benchmarks/tunix.txt
	@test -x $(TUNIX)/bin/python || $(PYTHON) -m venv $(TUNIX)
	@$(TUNIX)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/benchmarks/tunix.txt
	@touch $@
