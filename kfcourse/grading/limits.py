"""What a process gives up before it runs somebody else's code: processor time, memory, files' size, new processes.

Standard library only: the box runs this file itself. The wall-clock limit is the marking process's own.
"""

import os
import sys

NOBODY = 65534  # the user and group without rights; what the box becomes where it was started as root


def become_nobody() -> None:
    """Give up root's rights for good: root is not bound by the number of processes, nor by the owners of files."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def limit(memory: int, seconds: int) -> bool:
    """Limit this process for good: memory (bytes beyond what it holds) and processor time. False where the system has
    no such limits.
    """
    if os.name != "posix":
        return False
    import resource as r

    used = 0
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    wanted = {"CPU": seconds, "FSIZE": 16 * 2**20, "NOFILE": 64, "CORE": 0, "NPROC": 0, "AS": used + memory}
    if sys.platform == "darwin":
        del wanted["AS"]  # macOS refuses it; the marking process watches the memory
    for name, value in wanted.items():
        _, most = r.getrlimit(getattr(r, f"RLIMIT_{name}"))
        value = value if most == r.RLIM_INFINITY else min(value, most)
        r.setrlimit(getattr(r, f"RLIMIT_{name}"), (value, value))
    return True
