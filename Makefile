# `make demo` and `make test` work from a fresh clone: they need Python >= 3.10 and nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt
# pip makes bytecode with one core. Some files are meant for other versions of Python.
BYTECODE = $(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null || true

.PHONY: demo install loops test test-all lint format build clean

demo: $(VENV)/.installed
	$(BIN)/python -m stcodec.bench.demo tests/data/butterfly.mp4

install: $(VENV)/.installed-dev

# What numba compiles, the tests would compile, too.
loops: $(VENV)/.installed-dev
	$(BIN)/python -c "from stcodec.encoder.choice import warm_up; warm_up()"

# One thread per test process: the processes share the cores already.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow" $(PYTEST_ARGS)

test-all: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

# FUZZ="chunks --minutes 10", for one; atheris is used where it is installed.
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz $(FUZZ)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(VENV)/.installed-dev
	$(BIN)/python -m pip wheel --quiet --no-deps -c constraints.txt -w dist .

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache

# Half of the time of most tests is waiting, so there are more processes than cores.
JOBS ?= 3
# What `.ci/run` sets to dev,ray: the tests of Ray are skipped without it, and it is large.
EXTRAS ?= dev
PYTEST_ARGS ?=

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --no-compile -e .
	$(BYTECODE)
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --no-compile -e '.[$(EXTRAS)]'
	$(BYTECODE)
	touch $@ $(VENV)/.installed
