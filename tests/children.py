"""Real processes that a test may kill: forked from a server that has imported kfaclib once, so that each is there in
milliseconds.
"""

import contextlib
import multiprocessing
import os
import sys

CONTEXT = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
CONTEXT.set_forkserver_preload(
    [
        "kfaclib.commands.collect",
        "kfaclib.commands.edit",
        "kfaclib.commands.mine",
        "transformers.models.olmo2.modeling_olmo2",  # the model's class is loaded late, and takes seconds
        "children",
    ]
)


def _run(function, arguments, environ, log):
    os.environ.update(environ)
    with open(log, "w", encoding="utf-8") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        import torch

        torch.set_num_threads(1)
        code = function(*arguments)
    os._exit(code or 0)  # no one waits for threads here


def start(function, *arguments, log, **environ):
    """A started process that runs function(*arguments) with these environment variables, one thread, and its output in
    `log`.
    """
    process = CONTEXT.Process(target=_run, args=(function, arguments, environ, log))
    process.start()
    return process


def finish(process, log, seconds=120):
    """Wait for a process; its exit status and what it said."""
    process.join(seconds)
    assert process.exitcode is not None, "still running"
    return process.exitcode, log.read_text(encoding="utf-8")


def where_it_runs(seed, power):
    """(seed to a power, PyTorch's threads, kind of process): here, because a spawned process imports its function's
    module, and this one is light.
    """
    import torch

    return seed**power, torch.get_num_threads(), type(multiprocessing.current_process()).__name__
