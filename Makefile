# `make help` lists the targets.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/installed
DEV := $(VENV)/installed-dev
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
unexport PYTHONHOME PYTHONINSPECT PYTHONSAFEPATH PYTHONWARNINGS # they are for the caller's Python

.PHONY: repro overview compare reproduce review preview verify bench test chaos check format schema readme clean help
.DEFAULT_GOAL := help

repro: $(RUN) ## environment, then the whole pipeline: runs what params.yaml, code or data changed
	@REPRO_MAKE=$$PPID python -m tools.repro

overview: $(RUN) ## plots/report.html and the comparison of all architectures, from the results in the workspace
	python -m tools.overview

compare: $(RUN) ## results against those of a git revision, by predictions: make compare BASE=main
	@python -m tools.compare $(BASE)

reproduce: $(RUN) ## runs a commit again and compares the bytes: make reproduce [HEAD=...] [BASE=origin/main, for what changed since]
	@python -m tools.reproduce $(HEAD) $(if $(BASE),--base $(BASE))

review: $(RUN) ## review/review.html and .md, what a change did: make review BASE=origin/main [HEAD=...] [FAIL_ON="regression stale"]
	@python -m tools.review $(or $(BASE),origin/main) $(HEAD) $(if $(FAIL_ON),--fail-on $(FAIL_ON))

preview: $(DEV) ## preview/: DVC's charts as PNG, without a browser; before and after: make preview BASE=main
	@python -m tools.plots.preview $(BASE)

verify: $(RUN) ## proof that reruns give the same bytes, on other processors too, with a small configuration
	@python -m tools.verify

bench: $(RUN) ## bench/results.md: how fast it is, beside the tutorials' scripts; some hours, or PARTS="loop memory"
	@python -m tools.bench $(PARTS)

test: $(DEV) ## environment, then all tests
	python -m pytest --numprocesses auto --dist loadfile

chaos: $(DEV) ## each fault of tests/test_faults.py at 20 random moments; takes about half an hour
	python -m pytest tests/test_faults.py --times 20 --numprocesses auto

check: $(DEV) ## lint, format, and generated files that are out of date
	ruff check .
	ruff format --check .
	python -m stages.common.params --schema --check
	python -m tools.overview --check
	python -m tools.plots.page --check

format: $(DEV) ## format the code and mend what lint can mend
	ruff check --fix .
	ruff format .

schema: $(RUN) ## write stages/params.schema.json, which editors use to complete and check params.yaml
	python -m stages.common.params --schema

readme: overview ## write the results table and picture of README.md anew
	python -m tools.overview.readme

clean: ## remove the environment and what tools leave behind; data, models, metrics, plots and DVC's cache stay
	rm -rf $(VENV) dvc_plots review preview .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

$(RUN): requirements.txt
	@$(or $(PYTHON),false) tools/check_python.py || { test -n "$(PYTHON)" || echo "error: no Python found; install Python 3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	@echo ../../../.. > $$(echo $(VENV)/lib/python*/site-packages)/project.pth # found whatever PYTHONSAFEPATH says
	@touch $@

$(DEV): $(RUN) tests/requirements.txt
	$(PIP) -r tests/requirements.txt
	@touch $@
