# `make` alone lists the targets. Everything they need is put into .venv; python3 (3.11 or newer) and make are enough to start.

PYTHON ?= python3
PREFIX ?= /usr/local
DATA ?= photos
SET ?= *
INTO ?=
# Three at a time also where there are two cores: tests wait for disks, time-outs and other programs for a third of their time.
PYTEST ?= -q -p no:cacheprovider -n 3 --dist loadfile --no-loadscope-reorder

BIN := .venv/bin
COMMANDS := $(notdir $(wildcard bin/*))
PAGES := $(wildcard man/man*/*.[1-9])
HOME_OF_INSTALL := $(PREFIX)/lib/scape-toolkit

.DELETE_ON_ERROR:
.PHONY: help demo demo-visits demo-transfer demo-study tables test bench bench-dicom bench-correlation lint man install uninstall evaluate clean

help: ## list the targets (this)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.made ## render a photograph of real terrain from a hidden pose, and find the pose again
	@mkdir -p demo
	$(BIN)/python examples/demo/make_terrain.py demo/terrain.tif
	$(BIN)/python examples/demo/render_photo.py demo/terrain.tif -o demo/photo.jpg --truth demo/truth.json
	bin/locate demo/photo.jpg --dem demo/terrain.tif --pitch -30:30 --roll -15:15 --overlay demo/overlay.png > demo/candidates.jsonl
	$(BIN)/python examples/demo/compare.py demo/truth.json demo/candidates.jsonl
	$(BIN)/python examples/demo/invent_peaks.py demo/terrain.tif -o demo/peaks.csv
	bin/annotate demo/photo.jpg --pose demo/candidates.jsonl --peaks demo/peaks.csv --dem demo/terrain.tif -o demo/named.jpg
	@echo "The photograph with the terrain's lines over it, drawn in the pose that was found: $(CURDIR)/demo/overlay.png"
	@echo "The same with the names of its peaks, which were made up: $(CURDIR)/demo/named.jpg"

demo-visits: .venv/.made ## send invented visits from a hospital to a data centre, with a kill -9 in between
	$(BIN)/python examples/hospital/demo.py demo/visits

demo-transfer: .venv/.made ## send invented visits and images to a data centre, with kill -9 of both sides in between
	$(BIN)/python examples/hospital/transfer.py demo/transfer

demo-study: .venv/.made ## measure a search for a pose at four pairs of resolutions: report page, crate, the crate run again
	@$(MAKE) --no-print-directory -C examples/resolution-study OUT=$(CURDIR)/demo/study

tables: .venv/.made ## time and memory of each stage at fourteen pairs of resolutions, beside the seed's; INTO=README.md puts them there
	@$(MAKE) --no-print-directory -C examples/resolution-study tables WHOLE=1 SCENES=9 OUT=$(CURDIR)/build/tables INTO=$(abspath $(INTO))

test: .venv/.made .venv/.peers ## run the whole test suite
	@$(BIN)/python -m compileall -q toolkit  # as installing does: a thousand processes would each do it again
	@$(BIN)/python -c 'from toolkit.geo.wigner import compile_kernel; compile_kernel()' 2> /dev/null
	$(BIN)/python -m pytest $(PYTEST)

bench: .venv/.bench ## measure speed against bars and peers; figures go to build/bench.jsonl
	$(BIN)/python tests/benchmarks

bench-dicom: .venv/.bench .venv/.peers ## compare dicom-anon with five other de-identifiers; the README's table is printed
	@mkdir -p build
	$(BIN)/python tests/benchmarks/deidentification.py > build/deidentification.jsonl; status=$$?; cat build/deidentification.md; exit $$status

bench-correlation: .venv/.bench build/pysofft/.made ## measure the correlation against all its bars and other libraries, in half an hour
	BENCH_WHOLE=1 $(BIN)/python tests/benchmarks correlation fourier batch locate

lint: .venv/.made ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/mypy toolkit/
	$(BIN)/lint-imports --no-cache

man: .venv/.peers ## check the manuals and render them as text in build/man
	mandoc -Tlint -Wwarning $(PAGES)
	@mkdir -p build/man
	@for page in $(PAGES); do mandoc -Tutf8 $$page | sed 's/.\x08//g' > build/man/$${page##*/}.txt || exit 1; done
	@echo "The manuals as text: $(CURDIR)/build/man"

install: ## install commands, manuals and completions under PREFIX (/usr/local)
	$(PYTHON) -m venv $(HOME_OF_INSTALL)
	$(HOME_OF_INSTALL)/bin/python -m pip install --quiet --upgrade .
	$(HOME_OF_INSTALL)/bin/python -c 'from toolkit.geo.wigner import compile_kernel; compile_kernel()'
	@mkdir -p $(PREFIX)/bin $(PREFIX)/share/bash-completion/completions $(PREFIX)/share/zsh/site-functions $(PREFIX)/share/fish/vendor_completions.d
	@for page in $(PAGES); do install -D -m 644 $$page $(PREFIX)/share/$${page%/*}/$${page##*/} || exit 1; done
	@set -e; for name in $(COMMANDS); do \
	  ln -sf ../lib/scape-toolkit/bin/$$name $(PREFIX)/bin/$$name; \
	  variable=_$$(echo $$name | tr a-z- A-Z_)_COMPLETE; \
	  env $$variable=bash_source $(PREFIX)/bin/$$name > $(PREFIX)/share/bash-completion/completions/$$name; \
	  env $$variable=zsh_source $(PREFIX)/bin/$$name > $(PREFIX)/share/zsh/site-functions/_$$name; \
	  env $$variable=fish_source $(PREFIX)/bin/$$name > $(PREFIX)/share/fish/vendor_completions.d/$$name.fish; \
	done
	@echo "Installed in $(PREFIX)/bin: $(COMMANDS)"

uninstall: ## remove what `make install` put under PREFIX
	rm -rf $(HOME_OF_INSTALL)
	rm -f $(foreach page,$(PAGES),$(PREFIX)/share/$(page)) $(addprefix $(PREFIX)/bin/,$(COMMANDS))
	rm -f $(addprefix $(PREFIX)/share/bash-completion/completions/,$(COMMANDS)) $(addprefix $(PREFIX)/share/zsh/site-functions/_,$(COMMANDS))
	rm -f $(addprefix $(PREFIX)/share/fish/vendor_completions.d/,$(addsuffix .fish,$(COMMANDS)))

evaluate: .venv/.made ## locate photographs of known pose: DATA= names their directory, SET= some of them; a contact sheet
	$(BIN)/python tests/evaluation/evaluate.py $(DATA) --set "$(SET)"

clean: ## remove everything that make made
	rm -rf .venv build demo *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find bin toolkit tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# editable_mode=compat: the default would add 15 ms to the start of every command. pyspark is built from 470 MB of source beside the
# rest, and modules are compiled on all cores at the end, but for other projects' tests: pip would do all of it one after the other.
# roc-validator's shapes are read by pyshacl; the program itself would need an older rich than import-linter.
.venv/.made: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@export PYTHONWARNINGS=ignore; pip="$(BIN)/python -m pip install --quiet --no-compile"; \
	  $$pip --no-deps "$$(sed -n 's/^ *\(pyspark .*\)/\1/p' setup.cfg)" & spark=$$!; \
	  echo $$pip "-e '.[test]'"; \
	  $$pip --config-settings editable_mode=compat -e '.[test]' && \
	  $$pip --no-deps "$$(sed -n 's/^ *\(roc-validator .*\)/\1/p' setup.cfg)" && wait $$spark
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') || true
	@touch $@

# What the benchmarks compare with.
.venv/.bench: .venv/.made
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --config-settings editable_mode=compat -e '.[bench]'
	@touch $@

# pysofft, which the correlation is compared with, is compiled from its source on PyPI: it has lines longer than gfortran's usual limit.
build/pysofft/.made:
	@for program in gfortran pkg-config; do command -v $$program > /dev/null || missing=1; done; [ -e /usr/include/fftw3.f03 ] || missing=1; \
	if [ -n "$$missing" ]; then \
	  echo apt-get install gfortran libfftw3-dev pkg-config; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends gfortran libfftw3-dev pkg-config > /dev/null; \
	fi
	$(PYTHON) -m venv build/pysofft
	FFLAGS='-ffree-line-length-none -O3 -march=native' build/pysofft/bin/python -m pip install --quiet --no-cache-dir 'pysofft >=0.9.5, <1'
	@touch $@

# The other programs that some tests need. Where they cannot be installed, those tests are skipped and say why.
.venv/.peers: tests/peers/apt.txt .venv/.made
	@missing=$$(sed 's/#.*//' $< | xargs -r -n1 sh -c 'dpkg-query -W -f "\$${Status}" $$0 2>/dev/null | grep -q "ok installed" || echo $$0'); \
	if [ -z "$$missing" ]; then touch $@; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	  echo apt-get install $$missing; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing > /dev/null && touch $@ \
	    || echo "apt-get could not install" $$missing; \
	else echo "not installed, some tests will be skipped:" $$missing; fi
