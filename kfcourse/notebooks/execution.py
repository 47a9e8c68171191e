"""Executing notebooks so that an unchanged notebook gives identical bytes."""

import contextlib
import itertools
import os
import re
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from kfcourse import paths
from kfcourse.notebooks.notebooks import code_cells

CELL_TIMEOUT = 300  # seconds
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# With several processes side by side, threads would wait for each other's cores, and spin while they wait: beside other
# work a chapter took fourteen times as long. One thread a process costs nothing there, and little on free cores.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
# What importing torch and transformers makes is there to stay; looking through it for garbage as often as Python does
# by itself costs a second
SELDOM = (100_000, 10, 10)
# Every kernel begins with this; TQDM_DISABLE does not reach the bars that tqdm draws with widgets
START = f"""\
import gc
from functools import partialmethod
gc.set_threshold(*{SELDOM})
from tqdm.notebook import tqdm_notebook
tqdm_notebook.__init__ = partialmethod(tqdm_notebook.__init__, disable=True)
"""
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
# tried where a word begins and nowhere else: the picture in a view is one word of half a megabyte
KERNEL_FILE = re.compile(r"(?<!\S)\S*ipykernel_\d+[/\\]\d+\.py")


@dataclass(frozen=True)
class Failure:
    """Where a notebook stopped: the code cell's number (from 1), what it held, and the error in one paragraph."""

    cell: int
    source: str
    error: str


def environment():
    """Variables for the kernels: no progress bars, no network, the library's checkout, strict checks, fixed seeds,
    an empty profile instead of the user's own, and one thread, since their number can change the last digits of a sum.
    """
    env = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    env.update(
        KFAC_ROOT=str(paths.ROOT),
        KFAC_STRICT="1",
        TQDM_DISABLE="1",
        PYTHONHASHSEED="0",
        PYTHONUTF8="1",
        SOURCE_DATE_EPOCH="0",
        MATPLOTLIBRC=str(Path(__file__).with_name("matplotlibrc")),
        IPYTHONDIR=str(paths.BUILD / "ipython"),
        PYDEVD_DISABLE_FILE_VALIDATION="1",
    )
    startup = Path(env["IPYTHONDIR"], "profile_default", "startup")
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "start.py").write_text(START, encoding="utf-8")
    env.setdefault("HF_HUB_OFFLINE", "1")
    env.update(ONE_THREAD)
    return env


def execute(nb, env, on_cell=lambda: None, on_start=lambda pid: None):
    """Run a notebook from a fresh kernel in an empty folder; fills in its outputs and returns None or a Failure.

    `on_start` is called with the kernel's process id, `on_cell` after every code cell.
    """
    running = {"cell": 0, "source": ""}

    def started(cell, cell_index):
        if cell.cell_type == "code":
            running.update(cell=running["cell"] + 1, source=cell.source)

    for cell in code_cells(nb):  # where the run stops, no older output may remain
        cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory(prefix="kfaclib-", ignore_cleanup_errors=True) as folder:
        client = NotebookClient(
            nb,
            kernel_name="python3",
            timeout=CELL_TIMEOUT,
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
            shutdown_kernel="immediate",  # a kernel that holds torch takes three seconds to clear up after itself
            extra_arguments=["--IPKernelApp.log_level=40"],  # else a remark on TCP breaks into the progress bar
            on_notebook_start=lambda **_: on_start(client.km.provisioner.pid),
            on_cell_start=started,
            on_cell_executed=lambda **_: on_cell(),
        )
        try:
            # what a chapter leaves in its temporary folder goes with this one, since the kernel is killed in the end
            client.execute(env=env | {"TMPDIR": folder})
        except CellExecutionError as error:
            return Failure(running["cell"], running["source"], f"{error.ename}: {error.evalue}")
        except CellTimeoutError:
            return Failure(running["cell"], running["source"], f"not done after {CELL_TIMEOUT} seconds")
        except DeadKernelError:
            return Failure(running["cell"], running["source"], "the kernel died: out of memory, most likely")
    return None


@contextlib.contextmanager
def peak_memory():
    """Yields a dict; once its "pid" is a process's id, its "bytes" is the most memory that this process and those it
    started held together, sampled ten times a second. Which processes these are is looked up once a second, because
    that reads the table of all processes, and at every sample it would take a tenth of a core.
    """
    peak, done = {"pid": None, "bytes": 0}, threading.Event()

    def sample():
        processes = []
        for count in itertools.count():
            if done.wait(0.1):
                return
            if not processes or count % 10 == 0:
                processes = family(peak["pid"])
            held = 0
            for process in processes:
                with contextlib.suppress(psutil.Error):  # it may end while we look
                    held += process.memory_info().rss
            peak["bytes"] = max(peak["bytes"], held)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def family(pid):
    """A process and all that it started, as far as they still run; nothing for None."""
    with contextlib.suppress(psutil.Error):
        if pid is not None:
            process = psutil.Process(pid)
            return [process, *process.children(recursive=True)]
    return []


def normalise(nb):
    """Take out, in place, what differs from run to run or from machine to machine. Returns the notebook."""
    nb.metadata = nbformat.from_dict(METADATA)
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = _steady(output.text)
            data = output.get("data", {})
            data.pop("application/vnd.jupyter.widget-view+json", None)  # a random id; the text beside it stays
            for mime, value in data.items():
                if isinstance(value, str) and not mime.startswith("image/"):
                    data[mime] = _steady(value)
    return nb


def _steady(text):
    return KERNEL_FILE.sub("<cell>", ADDRESS.sub("at 0x...", text))
