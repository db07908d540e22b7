# Every target makes .venv first if it is not there. ARGS goes to the part scripts, DROPS to part 5:
#   make part3 ARGS="--arch mlp_1 --device cpu"
#   make part5 DROPS="5 12"
PYTHON ?= python3
OUT ?= results
ARGS ?=
DROPS ?=
RUN = .venv/bin/python
DEMO = --dataset synthetic --quick
# Nothing for results, so that the scripts choose a folder for what is synthetic or quick
TO = $(if $(filter-out results,$(OUT)),--out $(OUT))
DROP = $(if $(DROPS),--drop-epochs $(DROPS))

.PHONY: help demo test test-slow lint part2 part3 part4 part4-more part5 results measure summary figures report
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

demo: .venv/installed  ## parts 2 to 5, small, on drawn images: no data needed
	$(RUN) part2_conv.py
	$(RUN) part3_architectures.py $(DEMO)
	$(RUN) part4_activations.py $(DEMO)
	$(RUN) part5_learning_rate.py $(DEMO) --drop-epochs 2 4
	@echo "The demo's figures are in results/synthetic."

test: .venv/installed-dev  ## the tests, a few minutes
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m "not slow" --numprocesses 2 --dist loadfile

test-slow: .venv/installed-dev  ## kills, full disks, several processes: about ten minutes
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m slow --numprocesses 2 --dist loadfile

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

part4-more: .venv/installed  ## unscaled inputs (bonus question) and other initial weights
	$(RUN) part4_activations.py --unscaled $(TO) $(ARGS)
	$(RUN) part4_activations.py --initialized --runs 5 $(TO) $(ARGS)

part5: .venv/installed  ## the learning rates and schedules, five runs
	$(RUN) part5_learning_rate.py --runs 5 $(TO) $(DROP) $(ARGS)

results: part3 part4 part4-more part5 measure summary  ## parts 3 to 5 in full, resumable, and their numbers

measure: .venv/installed  ## what the report measures beside the runs, and two figures
	$(RUN) -m report.measure --out $(OUT)

summary: .venv/installed  ## summary.json from the records; of results also the README's tables
	$(RUN) -m report.summary --out $(OUT) $(if $(filter results,$(OUT)),--readme README.md)

report: .venv/installed  ## the PDF, from results (NAME=Ada SURNAME=Lovelace ID=2345678)
	$(RUN) -m report.build --name "$(NAME)" --surname "$(SURNAME)" --id "$(ID)" --results $(OUT)

figures: .venv/installed  ## all figures again from OUT (default: results), no training
	@[ -d $(OUT) ] || { echo "OUT=$(OUT): no such folder"; exit 1; }
	[ ! -e $(OUT)/part2_out.npy ] || $(RUN) part2_conv.py --plot-only --out $(OUT)
	[ ! -d $(OUT)/runs/part3 ] || $(RUN) part3_architectures.py --plot-only --out $(OUT) $(ARGS)
	[ ! -d $(OUT)/runs/part4 ] || $(RUN) part4_activations.py --plot-only --out $(OUT) $(ARGS)
	[ ! -d $(OUT)/runs/part4_unscaled ] || \
	    $(RUN) part4_activations.py --unscaled --plot-only --out $(OUT) $(ARGS)
	[ ! -d $(OUT)/runs/part4_initialized ] || \
	    $(RUN) part4_activations.py --initialized --plot-only --out $(OUT) $(ARGS)
	[ ! -d $(OUT)/runs/part5 ] || \
	    $(RUN) part5_learning_rate.py --plot-only --out $(OUT) $(DROP) $(ARGS)
