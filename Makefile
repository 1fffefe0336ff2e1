# make book · make test · make serve · make bench · make clean
# Each makes its own set-up: a private .venv from pyproject.toml and constraints.txt. Nothing need be installed before but
# Python 3.11 or newer (PYTHON=python3.12 picks one). DEVICE=cuda (mps, cpu) picks the device; ARGS goes to pytest or the
# benchmarks; PORT to the server.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

ifdef DEVICE
export LECTURES_DEVICE := $(DEVICE)
endif

.PHONY: book test serve bench clean

book: $(READY)
	@$(BIN)/python tools/build.py

test: $(READY)
	@echo "· the library's tests, then every cell of every notebook"
	@$(BIN)/python -m pytest tests book --nbval-lax $(ARGS)

serve: book
	@echo "Open http://127.0.0.1:$(PORT)/ (Ctrl-C stops)"
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

bench: $(READY)
	@if [ -d benchmarks ]; then $(BIN)/python -m benchmarks $(ARGS); else echo "There are no benchmarks yet."; fi

clean:
	rm -rf _build

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "The course needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1)."; \
	  echo "Name another: make PYTHON=python3.12"; exit 1; }
	@echo "· set-up: a virtual environment in $(VENV) (minutes the first time: PyTorch is large)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[book,test]"
	@touch $@
