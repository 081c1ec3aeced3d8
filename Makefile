# `make` lists what there is to make.
PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/ready
SITE   := .venv/site
NBS    := $(sort $(wildcard nbs/*_*.ipynb)) nbs/index.ipynb

# Kernels run in nbs/, so a folder of data is named from the root.
ifdef MINISGD_DATA
export MINISGD_DATA := $(shell $(PYTHON) -c 'import os; print(os.path.abspath(os.environ["MINISGD_DATA"]))')
endif

# Jupyter refuses root unless told otherwise, and without a display there is no browser to open: it prints its address.
ROOT    := $(if $(filter 0,$(shell id -u)),--allow-root)
SCREEN  := $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname))
WINDOW  := $(if $(strip $(SCREEN)),,--no-browser)

# Tests take real data from $MINISGD_DATA or the cache, else the built-in stand-in; they never download.
CHECK := MINISGD_OFFLINE=1 $(BIN)/python -m pytest

.PHONY: help lab doctor progress fresh test test-notebooks test-browser run exercises export bench site clean
.DEFAULT_GOAL := help

help:            ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

lab: $(READY)    ## open the course in JupyterLab, with your copies of the exercises in work/
	$(BIN)/python nbs/masters/work.py
	$(BIN)/jupyter lab $(ROOT) $(WINDOW) $(LAB) --LabApp.default_url=/lab/tree/nbs/index.ipynb

doctor:          ## what the course needs of this machine, and what there is
	@$(firstword $(wildcard $(BIN)/python) $(PYTHON)) -m minisgd.doctor

progress:        ## your exercises, a line for each sheet
	@$(PYTHON) nbs/masters/work.py progress

fresh:           ## put your copy of one sheet aside and bring a new one: make fresh EX=01_gd
	@$(PYTHON) nbs/masters/work.py fresh $(EX)

test: $(READY)   ## check everything: export in sync, every cell's output, tests/
	$(CHECK) -n 2

test-notebooks: $(READY)  ## check the notebooks alone
	$(CHECK) -n 2 nbs

test-browser: $(READY)  ## open everything in JupyterLab and a browser (a part: NB=01_gd)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	$(CHECK) -rs tests/browser.py $(if $(NB),-k '$(NB)')

run: $(READY)    ## execute every notebook and save its outputs (the one way outputs are made)
	$(BIN)/nbdev_export
	for nb in $(NBS); do echo $$nb; MINISGD_WRITE=1 $(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level WARN $$nb || exit 1; done
	$(BIN)/python tests/figures.py $(NBS)
	$(BIN)/nbdev_clean

exercises: $(READY) ## make the sheets, their solutions and their checks from nbs/masters (one: EX=01_gd)
	$(BIN)/python nbs/masters/make.py $(EX)

export: $(READY) ## write minisgd/ from the notebooks
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

bench: $(READY)  ## measure speed side by side with PyTorch
	$(BIN)/python tests/bench.py

site: $(SITE)    ## make the static site in build/site, from the committed outputs
	$(BIN)/python site/build.py build/site

clean:           ## remove what make made
	rm -rf .venv build dist *.egg-info .pytest_cache nbs/.ipynb_checkpoints nbs/.last_checked
	find . -name __pycache__ -prune -exec rm -rf {} +

$(READY): settings.ini setup.py constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/jupyter labextension disable @jupyterlab/apputils-extension:announcements  # or it asks about news, on top of the course
	touch $@

# The site is made from files alone, so neither torch nor the package is needed for it.
$(SITE): settings.ini constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	sed -n 's/^site_requirements = //p' settings.ini | xargs $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
	touch $@
