# `make help` lists the targets.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/installed
DEV := $(VENV)/installed-dev
CLUSTER := $(VENV)/installed-cluster
GPU := $(VENV)/installed-gpu
TRAINS := $(RUN) $(if $(RAY_ADDRESS),$(CLUSTER)) # what trains, here or on a Ray cluster
ENVIRONMENT := $(VENV)/bin/python -I tools/environment.py
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
unexport PYTHONHOME PYTHONINSPECT PYTHONSAFEPATH PYTHONWARNINGS # meant for the caller's Python, not this one

.PHONY: start repro overview reproduce review preview verify sweep test check lock format schema readme clean clean-results help
.DEFAULT_GOAL := help

start: $(RUN) ## turn a fresh clone into a project of your own: make start DATA=FOLDER [YES=1, to delete without asking]
	@python -m tools.start "$(or $(DATA),DATA)" $(if $(YES),--yes)

repro: $(TRAINS) ## install the environment, then run the pipeline; reruns only what an edit affects; fewer trainings at once: JOBS=1; in a fresh clone, without models that no edit needs: ALLOW_MISSING=1
	@python -m tools.repro $(JOBS:%=--jobs=%) $(if $(ALLOW_MISSING),--allow-missing)

overview: $(RUN) ## draw plots/report.html and the comparison from the results in the workspace
	python -m tools.overview

reproduce: $(RUN) ## rerun a commit and compare the bytes: make reproduce [HEAD=...] [BASE=origin/main, to rerun only what changed since]
	@python -m tools.reproduce $(HEAD) $(if $(BASE),--base $(BASE)) $(JOBS:%=--jobs=%)

review: $(RUN) ## compare results with those of a git revision, and write review/review.html and .md: make review [BASE=main] [HEAD=...] [FAIL_ON="regression stale"]
	@python -m tools.review $(or $(BASE),origin/main) $(HEAD) $(if $(FAIL_ON),--fail-on $(FAIL_ON))

preview: $(DEV) ## draw DVC's charts as PNG files in preview/; before and after: make preview BASE=main
	@python -m tools.plots.preview $(BASE)

verify: $(RUN) ## prove that reruns give the same bytes, on other processors too, with a small configuration; on some: PROCESSORS="Haswell"
	@python -m tools.verify $(PROCESSORS:%=--processor=%)

sweep: $(TRAINS) ## search for the best architecture of a space with Optuna: make sweep SPACE=docs/sweeps/small_cnn.yaml [TRIALS=30] [FINALISTS=3] [SEEDS="10 11"] [WRITE=1]
	@python -m tools.sweep $(SPACE) $(TRIALS:%=--trials=%) $(FINALISTS:%=--finalists=%) $(if $(SEEDS),--seeds $(SEEDS)) $(JOBS:%=--jobs=%) $(if $(WRITE),--write)

test: $(DEV) ## install the environment, then run all tests
	python -m pytest --numprocesses auto --dist worksteal

check: $(DEV) ## check lint, format, types, workflows, and that generated files are up to date
	ruff check .
	ruff format --check .
	mypy
	zizmor --offline --quiet .github
	python -m tools.schema --check
	python -m tools.overview --check
	python -m tools.plots.page --check
	@$(ENVIRONMENT) check

lock: $(VENV)/created ## write each requirements.txt from the requirements.in beside it; newer versions: UPGRADE=1 or UPGRADE="numpy"
	$(ENVIRONMENT) lock $(UPGRADE)

format: $(DEV) ## format the code, and fix what lint can fix
	ruff check --fix .
	ruff format .

schema: $(RUN) ## write stages/params.schema.json from the pipeline and the installed Keras: editors and stages check params.yaml with it
	python -m tools.schema

readme: overview ## update the results table and picture in README.md
	python -m tools.overview.readme

clean: ## remove the environment and tool output; keeps data, models, metrics, plots and DVC's cache
	rm -rf $(VENV) dvc_plots review preview .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

clean-results: $(RUN) ## list the results that no stage of dvc.yaml writes, and delete them if you agree; without a question: YES=1
	@python -m tools.clean $(if $(YES),--yes)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

$(VENV)/created:
	@$(or $(PYTHON),false) tools/check_python.py || { test -n "$(PYTHON)" || echo "error: no Python found; install Python 3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo ../../../.. > $$(echo $(VENV)/lib/python*/site-packages)/project.pth # makes the project importable even with PYTHONSAFEPATH
	@touch $@

$(RUN): requirements.txt | $(VENV)/created
$(CLUSTER): tools/cluster/requirements.txt $(RUN)
$(GPU): tools/gpu/requirements.txt $(RUN)
$(DEV): tests/requirements.txt $(CLUSTER)
$(RUN) $(CLUSTER) $(GPU) $(DEV):
	$(ENVIRONMENT) install $<
	@touch $@
