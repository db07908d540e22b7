# Every target makes .venv first if it is not there. ARGS goes to the scripts, OUT is their folder:
#   make part3 ARGS="--arch mlp_1 --device cpu" OUT=mine
PYTHON ?= python3
OUT ?= results
ARGS ?=
RUN = .venv/bin/python
DEMO = --dataset synthetic --quick
# Nothing for results, so that the scripts choose a folder for what is synthetic or quick
TO = $(if $(filter-out results,$(OUT)),--out $(OUT))
PYTEST = OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 2 --dist loadfile

.PHONY: help demo test test-slow test-oldest lint part2 part3 part4 part5 results report figures
help:  ## this list
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:[^#]*##/\t/' | expand -t 12

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "Python 3.10 or newer is needed, not $(PYTHON): make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --requirement requirements.txt
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(RUN) -m pip install --quiet --requirement requirements-dev.txt
	touch $@

demo: .venv/installed  ## parts 2 to 5, small, synthetic: no data needed
	$(RUN) part2_conv.py
	$(RUN) part3_architectures.py $(DEMO)
	$(RUN) part4_activations.py $(DEMO)
	$(RUN) part5_learning_rate.py $(DEMO) --drop-epochs 2 4
	@echo "The demo's figures are in results/synthetic."

test: .venv/installed-dev  ## the tests, a few minutes
	$(PYTEST) -m "not slow"

test-slow: .venv/installed-dev  ## kills, full disks, several processes: some minutes more
	$(PYTEST) -m slow

test-oldest: .venv/installed  ## the tests with the oldest versions that the requirements allow
	$(RUN) -m pip install --quiet uv
	$(RUN) -m uv venv --quiet --clear --python 3.10 .venv-oldest
	$(RUN) -m uv pip install --quiet --python .venv-oldest --resolution lowest-direct \
	    --requirement requirements-dev.txt
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -m "not slow" -n 2 --dist loadfile

lint: .venv/installed-dev  ## ruff and mypy
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

part2: .venv/installed  ## the convolution (ARGS="--samples FILE --kernel FILE")
	$(RUN) part2_conv.py $(TO) $(ARGS)

part3: .venv/installed  ## the five architectures, full protocol, resumable
	$(RUN) part3_architectures.py $(TO) $(ARGS)

part4: .venv/installed  ## ReLU and sigmoid, five runs
	$(RUN) part4_activations.py --runs 5 $(TO) $(ARGS)

part5: .venv/installed  ## the learning rates and schedules, five runs
	$(RUN) part5_learning_rate.py --runs 5 $(TO) $(ARGS)

results: part3 part4 part5  ## all that the report discusses, a day on two cores
	$(RUN) part4_activations.py --runs 5 --unscaled $(TO) $(ARGS)
	$(RUN) part4_activations.py --runs 5 --initialized --arch cnn_3 cnn_4 cnn_5 $(TO) $(ARGS)
	$(RUN) part5_learning_rate.py --runs 3 --long-epochs 100 $(TO) $(ARGS)
	$(RUN) part5_learning_rate.py --plot-only $(TO)

report: .venv/installed  ## the PDF of OUT's results (NAME=Ada SURNAME=Lovelace ID=2345678)
	$(RUN) -m report.build --name "$(NAME)" --surname "$(SURNAME)" --id "$(ID)" --results $(OUT)

figures: .venv/installed  ## the figures of OUT again from what is recorded there, no training
	@[ -d $(OUT) ] || { echo "OUT=$(OUT): no such folder"; exit 1; }
	[ ! -d $(OUT)/runs/part3 ] || $(RUN) part3_architectures.py --plot-only --out $(OUT)
	[ ! -d $(OUT)/runs/part4 ] || $(RUN) part4_activations.py --plot-only --out $(OUT)
	[ ! -d $(OUT)/runs/part4_unscaled ] || \
	    $(RUN) part4_activations.py --unscaled --plot-only --out $(OUT)
	[ ! -d $(OUT)/runs/part4_initialized ] || \
	    $(RUN) part4_activations.py --initialized --plot-only --out $(OUT)
	[ ! -d $(OUT)/runs/part5 ] || $(RUN) part5_learning_rate.py --plot-only --out $(OUT)
