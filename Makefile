# Short names for `python3 course.py ...`, which needs no make.
PYTHON ?= python3

.PHONY: run test lab execute
run test lab execute:
	$(PYTHON) course.py $@ $(ARGS)
