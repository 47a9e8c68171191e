# Short names for `python3 course.py ...`, which needs no make.
PYTHON ?= python3

.PHONY: run test lab execute
run test lab execute:
	$(PYTHON) course.py $@ $(ARGS)

# Fifty kills of the collector, and torchrun itself; about ten minutes.
.PHONY: kills
kills:
	$(PYTHON) course.py test -m slow tests/test_collection.py tests/test_distributed.py $(ARGS)
