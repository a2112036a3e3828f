"""What hostile code may try against the host, and against a grader: one row each.

An attack defines `attack(host)`, which returns what it won; `host` says where there is something to win. A spoof
defines `f(x)` and wants to pass without knowing the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

PRELUDE = """
import ctypes, errno, os, signal, socket, stat, struct, sys, threading, time

won = []
libc = ctypes.CDLL(None, use_errno=True)

def attempt(what, *arguments):
    try:
        won.append(f"{arguments}: {what(*arguments)!r}"[:200])
    except (OSError, MemoryError, RuntimeError, OverflowError):
        pass

def call(number, *arguments):
    if libc.syscall(number, *arguments) == -1:
        raise OSError(ctypes.get_errno(), "denied")
    return number

def read(path):
    with open(path, "rb") as file:
        return file.read(4096)

def write(path, mode="ab"):
    with open(path, mode) as file:
        return file.write(b"breach")
"""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack.

    Attributes:
        code: the body of `attack(host)`, without its `return won`.
        ends: how the call may end; a `value` must be the empty list.
        filtered: whether the system call filter is what denies it, so that without the filter something may be won
            inside, though nothing outside.
    """

    name: str
    code: str
    ends: tuple[str, ...] = ("value",)
    filtered: bool = False

    @property
    def program(self) -> str:
        body = "".join(f"    {line}\n" for line in self.code.strip().splitlines())
        return f"{PRELUDE}\ndef attack(host):\n    global won\n{body}    return won\n"


ATTACKS = (
    Attack(
        "read files of the host",
        """
for path in [*host["secrets"], "/etc/shadow", "/etc/passwd", "/proc/kcore", "/dev/mem", "/dev/vda", "/dev/sda"]:
    attempt(read, path)
for folder in ("/root", "/home", "/etc", "/proc", "/sys", "/run", "/var", host["folder"]):
    attempt(os.listdir, folder)
""",
    ),
    Attack(
        "read our environment",
        """
won += [name for name in os.environ if name not in ("PYTHONHASHSEED", "PYTHONSAFEPATH", "LC_CTYPE", "PWD")]
for pid in ("self", 1, 2, os.getppid(), *host["pids"]):
    attempt(read, f"/proc/{pid}/environ")
""",
    ),
    Attack(
        "connect to a server of the host",
        """
for address in ("127.0.0.1", host["address"], "1.1.1.1"):
    attempt(socket.create_connection, (address, host["port"]), 0.2)
""",
    ),
    Attack(
        "sockets that need no network",
        """
attempt(socket.socket(socket.AF_UNIX).connect, chr(0) + host["socket"])
attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)
attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)
""",
    ),
    Attack(
        "write to the host's disk",
        """
for folder in (host["folder"], "/", "/usr/lib", "/lib", "/etc", "/root", "/dev", "/var/tmp", "/home"):
    attempt(write, folder + "/breach")
for path in (*host["secrets"], sys.executable, os.__file__):
    attempt(write, path)
""",
    ),
    Attack(
        "fill the scratch folder",
        """
written = 0
for n in range(100):
    try:
        with open(f"/tmp/{n}", "wb", buffering=0) as file:
            while True:
                written += file.write(bytes(1 << 20))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG):
            raise
if written > host["quota"]:
    won.append(written)
""",
    ),
    Attack(
        "make files for ever",
        """
for n in range(1 << 30):
    os.mknod(f"/tmp/{n}")
""",
        ends=("crashed",),
    ),
    Attack(
        "access lists that no file system counts",
        """
entries = [(1, 6, -1), *[(2, 6, os.getuid())] * 8000, (4, 6, -1), (16, 6, -1), (32, 6, -1)]
access = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
os.mknod("/tmp/file")
attempt(os.setxattr, "/tmp/file", "system.posix_acl_access", access)
attempt(os.setxattr, "/tmp", "system.posix_acl_default", access)
""",
        filtered=True,
    ),
    Attack("fill shared memory", 'attempt(write, "/dev/shm/breach")\nattempt(os.mkdir, "/dev/shm")'),
    Attack(
        "fork bomb",
        """
until = time.monotonic() + 0.5
while time.monotonic() < until:
    attempt(os.fork)
""",
        ends=("value", "timeout", "crashed"),
        filtered=True,
    ),
    Attack(
        "thread bomb",
        """
for n in range(1000):
    try:
        threading.Thread(target=time.sleep, args=(60,)).start()
    except RuntimeError:
        break
if n > 64:
    won.append(n)
""",
    ),
    Attack(
        "memory bomb",
        """
held = []
try:
    while len(held) < 1000:
        held.append(bytes(1 << 24))
except MemoryError:
    pass
if len(held) << 24 > host["memory"]:
    won.append(len(held))
""",
    ),
    Attack(
        "memory that no limit counts",
        """
attempt(os.memfd_create, "breach")
for name in ("shmget", "msgget", "semget"):
    attempt(call, host["calls"][name], 0, 1 << 20, 0o1600)
""",
        filtered=True,
    ),
    Attack("compute for ever", "while True: pass", ends=("timeout",)),
    Attack("sleep for ever", "time.sleep(1e6)", ends=("timeout",)),
    Attack(
        "ignore every signal",
        """
for number in range(1, 65):
    attempt(signal.signal, number, signal.SIG_IGN)
while True:
    time.sleep(1)
""",
        ends=("timeout",),
    ),
    Attack("print for ever", 'while True: print("x" * 10000)', ends=("crashed",)),
    Attack(
        "write to every descriptor for ever",
        """
while True:
    for descriptor in range(64):
        try:
            os.write(descriptor, b"x" * 10000)
        except OSError:
            pass
""",
        ends=("crashed",),
    ),
    Attack(
        "leave a daemon",
        """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in range(64):
            attempt(os.close, descriptor)
        time.sleep(60)
    os._exit(0)
""",
        ends=("raised", "value"),
        filtered=True,
    ),
    Attack(
        "kill others",
        """
for pid in (*host["pids"], os.getppid()):
    if pid > 2:
        attempt(os.kill, pid, signal.SIGKILL)
for kill in (os.kill, os.killpg):
    for pid in (-1, 1, 0):
        try:
            kill(pid, signal.SIGTERM if pid == 0 else signal.SIGKILL)
        except OSError:
            pass
""",
        ends=("value", "crashed"),
    ),
    Attack(
        "look into others",
        """
for pid in (1, os.getppid(), *host["pids"]):
    if pid != os.getpid():
        attempt(call, host["calls"]["ptrace"], 16, pid, 0, 0)
        attempt(read, f"/proc/{pid}/mem")
""",
        ends=("value", "timeout"),  # unfiltered, it may stop what it looks into
        filtered=True,
    ),
    Attack(
        "new namespaces and mounts",
        """
for flag in (0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x10020000):
    attempt(call, host["calls"]["unshare"], flag)
attempt(call, host["calls"]["mount"], b"none", b"/tmp", b"tmpfs", 0, None)
attempt(call, host["calls"]["mount"], b"none", b"/", None, 0x1020, None)
attempt(call, host["calls"]["mount"], b"proc", b"/tmp", b"proc", 0, None)
attempt(call, host["calls"]["umount2"], b"/tmp", 2)
attempt(call, host["calls"]["pivot_root"], b"/tmp", b"/tmp")
attempt(os.chroot, "/tmp")
""",
    ),
    Attack(
        "settings of the kernel",
        """
for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/proc/self/mem"):
    attempt(write, path, "r+b")
attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))
attempt(os.nice, -5)
attempt(socket.sethostname, "breach")
attempt(time.clock_settime, time.CLOCK_REALTIME, 0.0)
""",
    ),
    Attack(
        "links and paths out of the scratch folder",
        """
for target in (*host["secrets"], host["folder"] + "/breach"):
    os.symlink(target, "/tmp/link")
    attempt(read, "/tmp/link")
    attempt(write, "/tmp/link")
    os.unlink("/tmp/link")
    attempt(os.link, target, "/tmp/link")
    for root in ("/tmp/../..", "/proc/1/root", "/proc/self/root", "/proc/self/cwd/..", "/old_root", "/oldroot"):
        attempt(read, root + target)
        attempt(write, root + target)
""",
    ),
    Attack(
        "descriptors that were left open",
        """
kinds = []
for descriptor in range(3, 1024):
    try:
        kinds.append(stat.S_IFMT(os.fstat(descriptor).st_mode))
    except OSError:
        pass
if kinds != [stat.S_IFIFO]:  # of the answers
    won += kinds
""",
    ),
    Attack(
        "become root",
        """
won += [f"uid {uid}" for uid in (*os.getresuid(), *os.getresgid()) if uid == 0]
for become in (os.setuid, os.setgid, os.seteuid):
    attempt(become, 0)
attempt(os.setgroups, [0])
attempt(os.chown, "/tmp", 0, 0)
attempt(os.mknod, "/tmp/disk", 0o600 | stat.S_IFBLK, os.makedev(8, 0))
attempt(call, host["calls"]["init_module"], 0, 0, 0)
if libc.prctl(39, 0, 0, 0, 0) != 1:
    won.append("rights may be gained by exec")
for capability in range(41):
    if libc.prctl(23, capability, 0, 0, 0) == 1:
        won.append(f"capability {capability}")
for path in ("/bin/su", "/usr/bin/su", "/bin/sh", "/usr/bin/bwrap"):
    attempt(os.execv, path, [path])
""",
    ),
    Attack(
        "calls that are denied",
        """
for name, number in host["calls"].items():
    ctypes.set_errno(0)
    if libc.syscall(number, 0, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != errno.EPERM:
        won.append(name)
""",
        ends=("value", "crashed", "timeout", "raised"),
        filtered=True,
    ),
    Attack("exit at once", "os._exit(0)", ends=("crashed",)),
    Attack("break the interpreter", "ctypes.string_at(0)", ends=("crashed",)),
)

SPOOFS = {
    "os._exit(0)": "import os\nos._exit(0)",
    "os._exit(0) when called": "import os\ndef f(x): os._exit(0)",
    "sys.exit(0)": "import sys\nsys.exit(0)",
    "equal to everything": """
class Equal:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
def f(x): return Equal()
""",
    "subclasses equal to everything": """
class Text(str):
    __eq__ = lambda self, other: True
    __hash__ = str.__hash__
class Items(list):
    __eq__ = lambda self, other: True
def f(x): return Items([Text("x")]) if x % 2 else Text("x")
""",
    "frames and the garbage collector": """
import gc, sys
def f(x):
    found, frame = [], sys._getframe()
    while frame is not None:
        found += [*frame.f_locals.values(), *frame.f_globals.values()]
        frame = frame.f_back
    found += [item for thing in gc.get_objects() if type(thing) in (list, dict) for item in thing]
    return max((thing for thing in found if type(thing) is str and thing.startswith("EXPECTED-")), default=None)
""",
    "sentinels": """
print("OK", "PASSED", "all tests passed", '["value", true]', sep="\\n", flush=True)
def f(x): return "passed"
""",
    "answers on every descriptor": """
import os
def f(x):
    for descriptor in range(64):
        for line in (b'["value", true]', b'["passed", true]', b'{"passed": true}', b'["value", "EXPECTED-"]'):
            try:
                os.write(descriptor, line + b"\\n")
            except OSError:
                pass
    os._exit(0)
""",
    "the right number of answers": """
import os
for n in range(3):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b'["value", {"list": [true, NaN, Infinity]}]\\n')
        except OSError:
            pass
os._exit(0)
""",
    "patched builtins": """
import builtins, json, sys
class True_:
    def __eq__(self, other): return True
json.dumps = lambda *a, **k: '["value", true]'
json.loads = lambda *a, **k: True
builtins.type = lambda *a: str
builtins.isinstance = lambda *a: True
sys.modules["__main__"].plain = lambda *a: True
sys.modules["__main__"].answer = lambda *a: '["value", true]'
def f(x): return True_()
""",
    "an exception": "def f(x): return AssertionError(x)",
    "an exception with a hostile text": """
class Loud(Exception):
    def __str__(self): raise SystemExit(0)
def f(x): raise Loud
""",
    "not a number": "def f(x): return float('nan')",
    "an endless value": "def f(x):\n    a = []\n    a.append(a)\n    return a",
    "an enormous value": "def f(x):\n    a = 'x'\n    for _ in range(60): a = [a, a]\n    return a",
    "a set of one hash": "def f(x): return {n * ((1 << 61) - 1) for n in range(3000)}",
    "the expected values on the disk": "def f(x): return open({answers!r}).read().splitlines()[x]",
}
