# Short names for `python3 course.py ...`, which needs no make.
PYTHON ?= python3

.PHONY: run test lab execute
run test lab execute:
	$(PYTHON) course.py $@ $(ARGS)

# Fifty kills of the collector, and torchrun itself; about ten minutes. `make test ARGS=--all` is everything.
.PHONY: kills
kills:
	$(PYTHON) course.py test --all -m slow tests/test_collection.py tests/test_distributed.py $(ARGS)
