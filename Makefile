# Everything lives in .venv, built from constraints.txt: exact versions, each download checked by
# its hash. Every target sets up what it needs; what is there already is not done again.
#
#   make setup    .venv with regraft in it        make test     the tests (ARGS="-k cut" selects)
#                 (EXTRAS="text video" adds some)
#   make demo     a first run on digits           make check    lint, format, types, import order
#   make bench    the figures that are claimed    make clean    removes all that was made here
#   make pins     renews constraints.txt
#
# PYTHON=/path/to/python chooses the interpreter, 3.11 or newer.

PYTHON ?=
ARGS ?=
EXTRAS ?=

venv := .venv
bin := $(venv)/bin
uv := $(bin)/uv
core := $(venv)/.core$(addprefix -,$(subst $() ,-,$(sort $(EXTRAS))))
plain := --quiet --no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-build

# Tests start hundreds of processes, each of which would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test check bench pins clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

setup: $(core)
	@echo "regraft is in $(bin); next: make demo, or $(bin)/regraft fit photos/"

demo: $(venv)/.core
	$(bin)/regraft demo

test: $(venv)/.dev
	$(bin)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

check: $(venv)/.dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/pyright --pythonpath $(bin)/python
	$(bin)/lint-imports

bench: $(venv)/.bench
	$(bin)/python -m bench $(ARGS)

# The versions it finds are tested before they are committed.
pins: $(uv)
	$(uv) pip compile pyproject.toml --all-extras --group setup --universal --python-version 3.11 \
	  $(plain) --generate-hashes --upgrade -o constraints.txt

clean:
	rm -rf $(venv) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(core): extras := $(EXTRAS:%=--extra %)
# The checks and tests see all of it, so that no test is left out for want of a package.
$(venv)/.dev: extras := --extra dev --extra text --extra video --extra labels
# Beside the peers: lightly (dev), cleanlab, crowd-kit and what they bring (labels), PyAV (video).
$(venv)/.bench: extras := --extra bench --extra dev --extra labels --extra video

# Constraints alone do not make a hash obligatory. So the wanted part of them is written out as a
# list of exact versions, and --require-hashes then refuses whatever constraints.txt has no hash of.
$(sort $(venv)/.core $(core)) $(venv)/.dev $(venv)/.bench: pyproject.toml constraints.txt | $(uv)
	$(uv) pip compile pyproject.toml $(extras) --python $(bin)/python $(plain) \
	  --constraints constraints.txt -o $@.txt
	$(uv) pip install --python $(bin)/python --no-build --no-deps --require-hashes --compile-bytecode \
	  --constraints constraints.txt -r $@.txt
	$(uv) pip install --python $(bin)/python --no-deps --build-constraints constraints.txt -e .
	@touch $@

# pip brings uv, and uv brings the rest in a fraction of pip's time.
$(uv):
	@for python in $(PYTHON) python3.11 python3; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "setting up $(venv) with $$($$python --version); the first time downloads about 3 GB"; \
	    rm -rf $(venv) && $$python -m venv $(venv) && exit 0; \
	    echo "could not make $(venv): install Python's venv module (Debian: python3-venv)" >&2; \
	    exit 1; \
	  fi; \
	done; \
	echo "regraft needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python" >&2; \
	exit 1
	@sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > $(venv)/.uv.txt
	$(bin)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --only-binary :all: --require-hashes -r $(venv)/.uv.txt
