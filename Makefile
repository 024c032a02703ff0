# `make help` lists the targets.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/installed
DEV := $(VENV)/installed-dev
SWEEP := $(VENV)/installed-sweep
CLUSTER := $(VENV)/installed-cluster
AUDIT := $(VENV)/installed-audit
TRAINS := $(RUN) $(if $(RAY_ADDRESS),$(CLUSTER)) # what trains, here or on a Ray cluster
ENVIRONMENT := $(VENV)/bin/python -I tools/environment.py
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
unexport PYTHONHOME PYTHONINSPECT PYTHONSAFEPATH PYTHONWARNINGS # meant for the caller's Python, not this one

.PHONY: repro overview compare reproduce review preview verify operations recipe sweep study bench test chaos fuzz check lock audit format schema readme clean clean-results help
.DEFAULT_GOAL := help

repro: $(TRAINS) ## install the environment, then run the pipeline; reruns only what an edit affects; fewer trainings at once: JOBS=1
	@python -m tools.repro $(JOBS:%=--jobs=%)

overview: $(RUN) ## draw plots/report.html and the comparison from the results in the workspace
	python -m tools.overview

compare: $(RUN) ## compare results with those of a git revision: make compare [BASE=main]
	@python -m tools.compare $(BASE)

reproduce: $(RUN) ## rerun a commit and compare the bytes: make reproduce [HEAD=...] [BASE=origin/main, to rerun only what changed since]
	@python -m tools.reproduce $(HEAD) $(if $(BASE),--base $(BASE))

review: $(RUN) ## write what a change did to review/review.html and .md: make review [BASE=main] [HEAD=...] [FAIL_ON="regression stale"]
	@python -m tools.review $(or $(BASE),origin/main) $(HEAD) $(if $(FAIL_ON),--fail-on $(FAIL_ON))

preview: $(DEV) ## draw DVC's charts as PNG files in preview/; before and after: make preview BASE=main
	@python -m tools.plots.preview $(BASE)

verify: $(RUN) ## prove that reruns give the same bytes, on other processors too, with a small configuration; on some: PROCESSORS="Haswell"
	@python -m tools.verify $(PROCESSORS:%=--processor=%)

operations: $(RUN) ## find which Keras objects give other bytes on other, emulated processors; takes an hour each: PROCESSORS="Haswell"
	@python -m tools.verify.operations $(PROCESSORS:%=--processor=%)

recipe: $(RUN) ## add a recipe of docs/recipes/ to params.yaml: make recipe NAME=cnn_best
	@python -m tools.recipe $(NAME)

sweep: $(TRAINS) $(SWEEP) ## search for the best architecture of a space with Optuna: make sweep SPACE=docs/sweeps/small_cnn.yaml [TRIALS=30] [FINALISTS=3] [SEEDS="10 11"] [WRITE=1]
	@python -m tools.sweep $(SPACE) $(TRIALS:%=--trials=%) $(FINALISTS:%=--finalists=%) $(if $(SEEDS),--seeds $(SEEDS)) $(JOBS:%=--jobs=%) $(if $(WRITE),--write)

study: $(RUN) ## train many seeds, to settle the tutorials' claims and test the comparison of recipes; takes about half an hour
	@python -m tools.study

bench: $(RUN) ## measure speed against the tutorials' scripts; takes hours; some parts: make bench PARTS="loop memory"
	@python -m tools.bench $(PARTS)

test: $(DEV) ## install the environment, then run all tests
	python -m pytest --numprocesses auto --dist worksteal

fuzz: $(DEV) ## read damaged and hostile files with every reader, and count what goes wrong; takes hours: make fuzz [TARGETS="archives params"] [COUNT=1000]
	@python -m tests.fuzz $(TARGETS) $(COUNT:%=--count=%)

chaos: $(DEV) ## inject each fault of tests/test_faults.py at 20 random moments; takes about half an hour
	python -m pytest tests/test_faults.py --times 20 --numprocesses auto

check: $(DEV) ## check lint, format, and that generated files are up to date
	ruff check .
	ruff format --check .
	python -m tools.schema --check
	python -m tools.overview --check
	python -m tools.plots.page --check
	@$(ENVIRONMENT) check

lock: $(VENV)/created ## write requirements.txt and tests/requirements.txt from their .in; newer versions: UPGRADE=1 or UPGRADE="numpy"
	$(ENVIRONMENT) lock $(if $(UPGRADE),--upgrade $(UPGRADE))

audit: $(AUDIT) ## check the locked requirements for known vulnerabilities; asks https://osv.dev, or another: OSV_URL=https://…
	@python -m tools.audit $(OSV_URL:%=--osv-url=%) $(wildcard requirements.txt */requirements.txt */*/requirements.txt)

format: $(DEV) ## format the code, and fix what lint can fix
	ruff check --fix .
	ruff format .

schema: $(RUN) ## write stages/params.schema.json from the pipeline and the installed Keras: editors and stages check params.yaml with it
	python -m tools.schema

readme: overview ## update the results table and picture in README.md
	python -m tools.overview.readme

clean: ## remove the environment and tool output; keeps data, models, metrics, plots and DVC's cache
	rm -rf $(VENV) dvc_plots review preview fuzz .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

clean-results: $(RUN) ## delete the results of architectures, seeds and ensembles that params.yaml no longer names, after listing them; does not ask: YES=1
	@python -m tools.clean $(if $(YES),--yes)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

$(VENV)/created:
	@$(or $(PYTHON),false) tools/check_python.py || { test -n "$(PYTHON)" || echo "error: no Python found; install Python 3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo ../../../.. > $$(echo $(VENV)/lib/python*/site-packages)/project.pth # makes the project importable even with PYTHONSAFEPATH
	@touch $@

$(RUN): requirements.txt | $(VENV)/created
	$(ENVIRONMENT) install requirements.txt
	@touch $@

$(SWEEP): $(RUN) tools/sweep/requirements.txt
	$(ENVIRONMENT) install tools/sweep/requirements.txt
	@touch $@

$(CLUSTER): $(RUN) tools/cluster/requirements.txt
	$(ENVIRONMENT) install tools/cluster/requirements.txt
	@touch $@

$(AUDIT): tools/audit/requirements.txt | $(VENV)/created # alone, as it runs nothing of what it checks
	$(ENVIRONMENT) install tools/audit/requirements.txt
	@touch $@

$(DEV): $(SWEEP) $(CLUSTER) tests/requirements.txt
	$(ENVIRONMENT) install tests/requirements.txt
	@touch $@
