"""What a process gives up before it runs somebody else's code.  Standard library only: the box runs this file itself.

Four layers, each as far as the system has it; `lock` says which are on.

    limits   processor time, memory, size of files, no new processes                     Linux, macOS
    files    nothing is written but in one folder, nothing read but Python itself         Linux 5.13 and later
    (Landlock)
    calls    no new process, no program, no network, no signal to or look into others     Linux on x86-64 and arm64
    (seccomp)
    fence    the same wishes as Python's audit hook: it stops mistakes and simple mischief, on every system,
             but not somebody who knows how to get around it
"""

import ctypes
import errno
import os
import platform
import struct
import sys

FILES = (os.devnull, "/dev/urandom", "/etc/ld.so.cache", "/etc/localtime")
LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/usr/share/zoneinfo")


def lock(folder, readable, memory, seconds):
    """Give up everything at once. folder: the one place to write; readable: folders to read; memory: further bytes.

    Returns the names of the layers that are on. There is no way back.
    """
    readable = [str(p) for p in (*readable, *LIBRARIES) if os.path.isdir(p)]
    on = []
    if os.name == "posix":
        limits(memory, seconds)
        on.append("limits")
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall.restype = ctypes.c_long
        libc.prctl(1, 9, 0, 0, 0)  # killed when the marking process ends
        libc.prctl(38, 1, 0, 0, 0)  # no new privileges
        on += ["files"] * landlock(libc, folder, readable) + ["calls"] * seccomp(libc)
    fence(os.path.realpath(folder), [os.path.realpath(p) for p in readable])
    return [*on, "fence"]


def limits(memory, seconds):
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


def landlock(libc, folder, readable):
    """True if the kernel now refuses this process every file that it was not given."""
    version = libc.syscall(444, None, 0, 1)
    if version < 1:
        return False
    read, write = 1 << 2, 1 << 1
    tree = read | 1 << 3  # and list folders
    own = tree | write | 1 << 5 | 1 << 8 | (1 << 14 if version >= 3 else 0)  # remove files, make files, cut them short
    handled = (1 << 13) - 1
    for since, bit in ((2, 13), (3, 14), (5, 15)):
        handled |= 1 << bit if version >= since else 0
    words = [handled] + [3] * (version >= 4) + [3] * (version >= 6)  # and no TCP; no signals, no abstract sockets
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = libc.syscall(444, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    rules = (
        [(path, tree) for path in readable]
        + [(p, read | (write if p == os.devnull else 0)) for p in FILES]
        + [(folder, own)]
    )
    for path, allowed in rules:
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        libc.syscall(445, ruleset, 1, struct.pack("=Qi", allowed, handle), 0)
        os.close(handle)
    refused = libc.syscall(446, ruleset, 0)
    os.close(ruleset)
    return refused == 0


# numbers of system calls on (x86-64, arm64); None where the machine has none
REFUSED = {
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "kcmp": (312, 272),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "setpriority": (141, 140),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "truncate": (76, 45),
    # Landlock does not look at these, and they would change files that are not ours
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "utimensat": (280, 88),
    "futimesat": (261, None),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}
ONLY_ITSELF = {
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
}  # allowed with the own process's number
MACHINES = {"x86_64": (0, 0xC000003E, 317, 56), "aarch64": (1, 0xC00000B7, 277, 220)}  # column, name, seccomp, clone


def seccomp(libc):
    """True if the kernel now refuses this process the system calls above."""
    if platform.machine() not in MACHINES or struct.calcsize("P") != 8:
        return False
    column, name, call, clone = MACHINES[platform.machine()]
    allow, refuse, absent, kill = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS, 0x80000000
    load, equal, at_least, masked, back = 0x20, 0x15, 0x35, 0x54, 0x06  # the five instructions that are needed
    program = [(load, 0, 0, 4), (equal, 1, 0, name), (back, 0, 0, kill), (load, 0, 0, 0)]
    if column == 0:
        program += [(at_least, 0, 1, 0x40000000), (back, 0, 0, refuse)]  # the 32-bit calls of a 64-bit machine
    for numbers in REFUSED.values():
        if numbers[column] is not None:
            program += [(equal, 0, 1, numbers[column]), (back, 0, 0, refuse)]
    program += [
        (equal, 0, 1, 435),
        (back, 0, 0, absent),
    ]  # clone3: the C library then takes clone, whose flags can be seen
    program += [
        (equal, 0, 5, clone),
        (load, 0, 0, 16),
        (masked, 0, 0, 0x10000),
        (equal, 0, 1, 0),
        (back, 0, 0, refuse),
        (back, 0, 0, allow),
    ]
    for numbers in ONLY_ITSELF.values():
        program += [
            (equal, 0, 5, numbers[column]),
            (load, 0, 0, 16),
            (equal, 1, 0, os.getpid()),
            (equal, 0, 1, 0),
            (back, 0, 0, allow),
            (back, 0, 0, refuse),
        ]
    program += [(back, 0, 0, allow)]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    return libc.syscall(call, 1, 1, described) == 0  # for every thread


FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.kill",
    "os.killpg",
    "subprocess.Popen",
    "pty.spawn",
    "socket.",
    "ctypes.",
    "winreg.",
    "_winapi.",
    "signal.pthread_kill",
    "mmap.__new__",
)
CHANGES = (
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.utime",
    "os.setxattr",
    "os.removexattr",
    "shutil.",
)
READS = ("os.listdir", "os.scandir")


def fence(folder, readable):
    """Refuse in Python what the other layers refuse in the kernel, with a sentence that says so."""
    files = [os.path.realpath(p) for p in FILES]
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def within(path, folders):
        path = os.path.realpath(os.fsdecode(path))
        return any(path == f or path.startswith(f.rstrip(os.sep) + os.sep) for f in folders)

    def hook(event, args):
        if event == "open":
            path, _, flags = args
            if isinstance(path, int):
                return
            if flags & writing and not within(path, [folder, files[0]]):
                raise PermissionError("an answer may write nothing outside its own folder")
            if not within(path, [folder, *readable, *files]):
                raise PermissionError("an answer may read no files")
        elif event.startswith(FORBIDDEN):
            raise PermissionError(f"an answer may not do this: {event}")
        elif event.startswith(CHANGES):
            if not all(within(a, [folder]) for a in args if isinstance(a, (str, bytes))):
                raise PermissionError("an answer may change nothing outside its own folder")
        elif event in READS and isinstance(args[0], (str, bytes)) and not within(args[0], [folder, *readable]):
            raise PermissionError("an answer may look into no other folder")

    sys.addaudithook(hook)
