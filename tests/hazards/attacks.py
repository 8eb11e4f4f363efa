# SPDX-License-Identifier: Apache-2.0
"""Attacks as rows: a program, what must come of it in a pod, and (where one defence of ours stops it) the same program with that
defence off, which must do harm. `id` is the row of the attack list in README.md. test_pod_6_attacks.py runs them."""
import dataclasses

# Programs print one line for each thing that they try.
PRELUDE = """
import ctypes, errno, fcntl, os, resource, signal, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    ctypes.set_errno(0)
    if libc.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def attempt(name, what):
    try:
        what()
        print(name, "reached", flush=True)
    except Exception as e:
        print(name, "stopped", getattr(e, "errno", None) or type(e).__name__, flush=True)
def write(path, text, flags=os.O_WRONLY):
    fd = os.open(path, flags)
    try:
        os.write(fd, text)
    finally:
        os.close(fd)
"""


@dataclasses.dataclass
class Attack:
    id: str
    name: str
    code: str
    expect: object            # facts -> bool: what must come of it
    off: tuple = ()           # the defences without which ...
    harm: object = None       # ... this comes of it
    kind: str = "py"          # or "cold", or "bash"
    count: int = 1            # the facts are those of the last
    hold_pods: bool = False
    options: dict = dataclasses.field(default_factory=dict)
    outside: object = None    # no defence of ours alone stops it: what comes of it on the host (as root, in a folder of its own)

    def __str__(self):
        return f"{self.id}-{self.name}"


def lines(facts):
    return facts["stdout"].decode(errors="replace").splitlines()


def stopped(facts):
    """Everything that was tried failed, and the program lived to tell."""
    return bool(lines(facts)) and all(" stopped" in line for line in lines(facts)) and facts["exit"]["exit_code"] == 0


def reached(facts):
    return any(" reached" in line for line in lines(facts))


def says(*wanted):
    return lambda facts: facts["stdout"].decode(errors="replace").split() == [str(w) for w in wanted]


def ends(end, signal=None):
    return lambda facts: facts["exit"]["end"] == end and signal in (None, facts["exit"]["signal"]) and facts["done"]


def dies_of(signal):
    return lambda facts: facts["exit"]["signal"] == signal and facts["exit"]["end"] == "own"


def out_of_memory(facts):
    return facts["exit"]["end"] == "memory" and facts["usage"]["oom_kills"] >= 1


def ended_before(size):
    """PID 1 had seen the end of a process that large before it told the program's end."""
    return lambda facts: says("done")(facts) and facts["exit"]["max_rss"] > size


def filters_here():
    """How many filters hold outside already: a line of /proc/self/status."""
    return next(line for line in open("/proc/self/status", "rb") if line.startswith(b"Seccomp_filters:"))


def last_says(word):
    return lambda facts: bool(lines(facts)) and lines(facts)[-1] == word


MIB = 1 << 20
ROWS = []


def attack(id, name, expect, code, **more):
    known = {f.name for f in dataclasses.fields(Attack)}
    options = {k: v for k, v in more.items() if k not in known}
    ROWS.append(Attack(id=id, name=name, expect=expect, code=code, options=options,
                       **{k: v for k, v in more.items() if k in known}))


# ---- files ---------------------------------------------------------------------------------------------------------

attack("A10", "device nodes", stopped, outside=reached, code="""
attempt("char", lambda: os.mknod("c", 0o20666, os.makedev(1, 3)))
attempt("block", lambda: os.mknod("b", 0o60666, os.makedev(8, 0)))
""")
attack("A17", "a tree of 1,000 levels", says("deep"), """
for i in range(1000):
    os.mkdir("d" * 20)
    os.chdir("d" * 20)
try:
    os.stat(os.getcwd())
except OSError as e:
    print("deep" if e.errno == errno.ENAMETOOLONG else e)
""")
attack("A18", "100,000 empty files", lambda f: 0 < int(f["stdout"]) < 4096, """
n = 0
try:
    while n < 6000:
        open(f"f{n}", "x").close()
        n += 1
except OSError as e:
    assert e.errno == errno.ENOSPC
print(n)
""", off=("disk_limits",), harm=says(6000))
attack("A18", "10,000 folders", lambda f: 0 < int(f["stdout"]) < 4096, """
n = 0
try:
    while n < 6000:
        os.mkdir(f"d{n}")
        n += 1
except OSError:
    pass
print(n)
""", off=("disk_limits",), harm=says(6000))
attack("A25", "names of 255 and 256 bytes", says("255", "reached", "256", "stopped", 36, "emoji", "reached"), """
attempt("255", lambda: open("a" * 255, "x"))
attempt("256", lambda: open("a" * 256, "x"))
attempt("emoji", lambda: open("\\U0001f600" * 63, "x"))
""")
attack("A30", "immutable files and foreign attributes", stopped, outside=reached, code="""
fd = os.open("out", os.O_CREAT | os.O_RDWR)
attempt("immutable", lambda: fcntl.ioctl(fd, 0x40086602, struct.pack("l", 0x10)))
attempt("trusted", lambda: os.setxattr("out", "trusted.x", b"1"))
attempt("capability", lambda: os.setxattr("out", "security.capability", struct.pack("<IIIII", 0x2000001, 1, 0, 0, 0)))
try: fcntl.ioctl(fd, 0x40086602, struct.pack("l", 0))
except OSError: pass
""")
attack("A32", "a bomb that the guest unpacks", stopped, """
import zlib
def unpack():
    pump, bomb = zlib.decompressobj(), zlib.compress(bytes(1 << 20)) 
    with open("out", "wb", buffering=0) as f:
        for i in range(64):
            if f.write(zlib.decompress(bomb)) < 1 << 20:
                raise OSError(errno.ENOSPC, "full")
attempt("unpack", unpack)
""", work_bytes=16 * MIB, off=("disk_limits",), harm=reached)
attack("A34", "the quota exactly full and a byte more", says(4 * MIB, 28, 4 * MIB), """
fd = os.open("out", os.O_CREAT | os.O_WRONLY)
total = 0
try:
    while True:
        total += os.write(fd, bytes(4096))
except OSError as e:
    print(total + os.stat("main.py").st_blocks * 512, e.errno, os.fstat(fd).st_size + os.stat("main.py").st_blocks * 512)
""", work_bytes=4 * MIB, fsize=8 * MIB, off=("disk_limits",), harm=lambda f: b" 27 " in f["stdout"])

def given(facts):
    """{name: bytes} of the files that came back."""
    return {f["path"]: f["data"].encode("latin-1") for f in facts.get("files", []) if "data" in f}


def refused(facts):
    """{name: reason} of those that did not; without a name: how many more."""
    return {f["path"] or f["count"]: f["refused"] for f in facts.get("files", []) if "refused" in f}


LINKS = {"passwd": "/etc/passwd", "environ": "/proc/1/environ", "up": "../../etc/hosts", "around": "/proc/self/cwd/../../etc/passwd"}
attack("A1", "links to files of the host", lambda f: given(f) == {"good": b"good"} and refused(f) == dict.fromkeys(LINKS, "symlink"), f"""
for name, target in {LINKS}.items(): os.symlink(target, name)
open("good", "w").write("good")
""", collect=True, off=("plain_files",), harm=lambda f: b"root" in given(f).get("passwd", b""))
attack("A1", "a folder that is a link", lambda f: not given(f) and refused(f) == {"all": "symlink"}, 'os.symlink("/etc", "all")', collect=True,
       off=("plain_files",), harm=lambda f: any(name.startswith("all/") for name in given(f)))
attack("A2", "links to devices without end", lambda f: not given(f) and set(refused(f).values()) == {"symlink"}, """
for name in ("urandom", "zero", "full"): os.symlink("/dev/" + name, name)
os.symlink("/proc/self/mem", "mem"); os.symlink("loop", "loop")
""", collect=True, off=("plain_files",), harm=lambda f: refused(f).get("zero") == "special")
attack("A5", "a link swapped until the end", lambda f: set(given(f).values()) <= {b"real", b""} and set(refused(f).values()) <= {"symlink"}, """
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    for fd in range(3): os.close(fd)
    i = 0
    while True:
        i += 1
        open("real", "w").write("real"); os.rename("real", "out")
        os.symlink(["/etc/passwd", "/proc/1/environ", "/dev/zero", "..", "."][i % 5], "link"); os.rename("link", "out")
        if i == 50: os.write(w, b".")
os.read(r, 1)
""", collect=True, count=10)
attack("A8", "a fifo, a socket and a file of two names", lambda f: given(f) == {"good": b""} and refused(f) == {"fifo": "special", "sock": "special",
       "one": "hard_link", "two": "hard_link"}, """
os.mkfifo("fifo")
s = socket.socket(socket.AF_UNIX); s.bind("sock")
open("one", "w").close(); os.link("one", "two")
open("good", "w").close()
""", collect=True)
attack("A16", "101 files", lambda f: len(given(f)) == 10 and sum(f["count"] for f in f["files"] if "refused" in f) == 91 and
       set(refused(f).values()) == {"too_many"}, 'for i in range(101): open(f"f{i:03}", "w").close()', collect=True)
attack("A21", "closed to everybody", lambda f: given(f) == {"closed": b"x", "folder/in": b"y"} and not refused(f), """
os.mkdir("folder")
open("closed", "w").write("x"); open("folder/in", "w").write("y")
os.chmod("closed", 0); os.chmod("folder", 0)
""", collect=True)
attack("A22", "names that are more than names", lambda f: sorted(given(f)) == ["-rf", "CON", "txt\xe2\x80\xaeexe"] and sorted(refused(f).values()) == ["bad_name"] * 4, """
for name in (b"a\\nb", b"a\\r\\nb", b"\\x1b[2J", b"\\x7f", b"-rf", b"CON", "txt\\u202eexe".encode()): open(name, "w").close()
""", collect=True)

# ---- output --------------------------------------------------------------------------------------------------------

attack("A36", "both streams at once from two threads", lambda f: ends("output")(f) and len(f["stdout"]) + len(f["stderr"]) == 300001, """
def flood(fd):
    for i in range(400): os.write(fd, b"x" * 999)
other = threading.Thread(target=flood, args=(2,))
other.start()
flood(1)
other.join()
""", output=300001, off=("output_limit",), harm=lambda f: ends("own")(f) and len(f["stdout"]) + len(f["stderr"]) == 2 * 400 * 999)
attack("A37", "64 MiB without a line", lambda f: ends("output")(f) and len(f["stdout"]) == MIB,
       "for i in range(64): os.write(1, b'x' * (1 << 20))", output=MIB)
attack("A37", "4 MiB without a line", lambda f: ends("output")(f) and len(f["stdout"]) == MIB,
       "for i in range(64): os.write(1, b'x' * (1 << 16))", output=MIB, off=("output_limit",), harm=lambda f: len(f["stdout"]) == 4 * MIB)
attack("A48", "standard input closed while it is written to", says("fine"),
       "os.close(0)\ntime.sleep(0.1)\nprint('fine')", stdin="x" * 300000)
attack("A52", "children that write on after the deadline", ends("wall", 9), """
end = time.monotonic() + 2
for i in range(3):
    if os.fork() == 0:
        os.setsid()
while time.monotonic() < end:
    os.write(1, b"x" * 100)
    time.sleep(0.001)
""", wall_ms=300, output=64 * MIB, off=("wall_limit",), harm=ends("own"))
attack("A53", "killed with its last words in the pipe", lambda f: dies_of(9)(f) and f["stdout"] == b"z" * 4096,
       "os.write(1, b'z' * 4096)\nos.kill(os.getpid(), 9)")
attack("A54", "pipes bent", lambda f: f["stdout"].count(b"y") == 100000 and f["stdout"].endswith(b"vmsplice stopped 1\n"), """
try: fcntl.fcntl(1, 1031, 1 << 20)
except OSError: pass
fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_NONBLOCK)
data = b"y" * 100000
r, w = os.pipe()
while data:
    n = os.write(w, data[:60000])
    data = data[n:]
    while n:
        try: n -= os.splice(r, 1, n)
        except BlockingIOError: time.sleep(0.001)
fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) & ~os.O_NONBLOCK)
print()
iov = struct.pack("PN", ctypes.addressof(ctypes.create_string_buffer(b"z")), 1)
attempt("vmsplice", lambda: call(278, 1, iov, 1, 0))
""", off=("seccomp",), harm=lambda f: f["stdout"].endswith(b"vmsplice reached\n"))

# ---- processes, signals, time ---------------------------------------------------------------------------------------

FEW = dict(pids=40, off=("pids_limit",), harm=last_says("all"))
attack("A56", "a thread bomb", last_says("refused"), """
try:
    for i in range(80):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    print("all", flush=True)
except RuntimeError:
    print("refused", flush=True)
os._exit(0)
""", **FEW)
attack("A56", "a fork bomb", lambda f: ends("wall")(f) and f["usage"]["pids_refused"] > 0, ":(){ :|:& };:; while :; do :; done",
       kind="bash", pids=50, wall_ms=2000)
attack("A56", "clone with CLONE_PARENT", last_says("refused"), """
try:
    for i in range(80):
        r = libc.syscall(56, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0)
        if r == 0:
            while True: signal.pause()
        if r < 0: raise OSError
    print("all")
except OSError:
    print("refused")
""", **FEW)
attack("A57", "a daemon, twice forked", ended_before(64 * MIB), """
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        x = b"x" * (64 << 20)
        os.write(w, b".")
        os.close(1); os.close(2)
        while True:
            open("/mnt/data/touched", "w").close()
            time.sleep(0.01)
    os._exit(0)
os.read(r, 1)
print("done")
""", off=("kill_all",), harm=lambda f: says("done")(f) and not ended_before(64 * MIB)(f))
attack("A58", "deaf to all signals, with grandchildren", ends("wall", 9), """
for s in range(1, 65):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
for i in range(2):
    if os.fork() == 0:
        os.setsid()
        os.fork()
        while True: time.sleep(1)
time.sleep(2)
""", wall_ms=400, off=("wall_limit",), harm=ends("own"))
attack("A60", "every signal to everybody", dies_of(9), """
for s in range(1, 65):
    try: os.kill(1, s)
    except OSError: pass
if os.fork() == 0:
    os.kill(-1, 9)
while True: signal.pause()
""")
attack("A61", "a forged SIGCHLD for PID 1", lambda f: stopped(f) and f["exit"]["end"] == "own", """
info = struct.pack("iiiiii", signal.SIGCHLD, 0, -1, 0, os.getpid(), 0) + bytes(104)
attempt("queue", lambda: call(129, 1, signal.SIGCHLD, info))
attempt("user", lambda: os.kill(1, signal.SIGUSR1))
""", kind="cold", off=("no_capabilities", "landlock"), harm=reached)
attack("A64", "the inside of PID 1", stopped, """
for name in ("environ", "mem", "maps", "root", "cwd", "exe", "fd", "cmdline"):
    attempt(name, lambda: os.stat("/proc/1/" + name))
""", off=("proc_hidepid",), harm=reached)
attack("A65", "overwriting what runs", stopped, """
for path in ("/proc/self/exe", "/proc/1/exe", "/usr/bin/python3.11", "/bin/sh", "/usr/bin/yes"):
    attempt(path, lambda: os.close(os.open(path, os.O_WRONLY)))
""", kind="cold", outside=reached)
attack("A66", "zombies that nobody waits for", last_says("refused"), """
try:
    for i in range(80):
        if os.fork() == 0: os._exit(0)
    print("all")
except OSError:
    print("refused")
""", **FEW)
attack("A68", "short children that burn", ends("cpu"), """
for i in range(24):
    if os.fork() == 0:
        t = time.process_time()
        while time.process_time() < t + 0.05: pass
        os._exit(0)
    os.wait()
""", cpu_ms=300, wall_ms=20000, off=("cpu_limit",), harm=ends("own"))
attack("A70", "better than the neighbours", stopped, outside=reached, code="""
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20))
attempt("fifo", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt("ioprio", lambda: call(251, 1, 0, 1 << 13))
""")
attack("A73", "a core file", says(False, "['main.py']"), """
pid = os.fork()
if pid == 0:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    os.kill(os.getpid(), signal.SIGSEGV)
print(os.WCOREDUMP(os.waitpid(pid, 0)[1]), os.listdir())
""", off=("rlimits",), harm=lambda f: f["stdout"].startswith(b"True"))
attack("A74", "to be spared by the kernel", stopped, """
attempt("back", lambda: write("/proc/self/oom_score_adj", b"0"))
attempt("never", lambda: write("/proc/self/oom_score_adj", b"-1000"))
""", off=("landlock",), harm=reached)
attack("A77", "the tree of cgroups", stopped, 'attempt("sys", lambda: os.listdir("/sys/fs/cgroup"))', outside=reached)
attack("A77", "into another cgroup", stopped, """
attempt("move", lambda: write("/sys/fs/cgroup/cgroup.procs", b"0"))
attempt("mount 1", lambda: call(165, b"c", b"/mnt/data", b"cgroup", 0, b"memory"))
attempt("mount 2", lambda: call(165, b"c", b"/mnt/data", b"cgroup2", 0, None))
""", kind="cold", off=("seccomp", "landlock", "no_capabilities"), harm=reached)
attack("A78", "the clock", stopped, """
attempt("settime", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
attempt("settimeofday", lambda: call(164, struct.pack("ll", int(time.time()), 0), None))
attempt("time namespace", lambda: call(272, 0x80))
""", kind="cold", off=("seccomp", "no_capabilities"), harm=reached)

# ---- memory, disk, kernel objects -----------------------------------------------------------------------------------

attack("A80", "memory for ever", out_of_memory, "x = []\nfor i in range(150): x.append(bytearray(b'x') * (1 << 20))\nprint('all')", memory=64 * MIB,
       off=("memory_limit",), harm=says("all"))
attack("A81", "a child out of memory", out_of_memory, """
if os.fork() == 0:
    x = []
    for i in range(150): x.append(bytearray(b"x") * (1 << 20))
    os._exit(0)
if os.wait()[1] == 0: print("all", flush=True)
else: time.sleep(20)
""", memory=64 * MIB, off=("memory_limit",), harm=says("all"))
attack("A82", "locked and huge pages", stopped, """
page = ctypes.create_string_buffer(1 << 16)
def mapped(flags):
    libc.mmap.restype = ctypes.c_void_p
    if libc.mmap(None, 1 << 21, 3, 0x22 | flags, -1, 0) in (None, 2**64 - 1):
        raise OSError(ctypes.get_errno(), "mmap")
attempt("mlock", lambda: call(149, page, 1 << 16))
attempt("mlockall", lambda: call(151, 3))
attempt("locked", lambda: mapped(0x2000))
attempt("huge", lambda: mapped(0x40000))
""", off=("rlimits",), harm=reached)
attack("A84", "what the last one left in memory", says("whole"), """
open("f", "wb").write(bytes(20 << 20))
x = bytearray(30 << 20)
print("whole")
if len(sys.argv) == 1: os._exit(0)
""", count=4, memory=64 * MIB)
attack("A85", "memory files", out_of_memory, """
kept = []
for i in range(150):
    kept.append(os.memfd_create("x"))
    os.write(kept[-1], bytes(1 << 20))
print("all")
""", memory=64 * MIB, off=("memory_limit",), harm=says("all"))
attack("A86", "shared memory left behind", out_of_memory, """
libc.shmat.restype = ctypes.c_void_p
id = libc.shmget(77, 150 << 20, 0o1600)
at = libc.shmat(id, None, 0)
ctypes.memset(at, 1, 150 << 20)
print("all")
""", memory=64 * MIB, off=("memory_limit",), harm=says("all"))
attack("A88", "a thousand pipes", lambda f: stopped(f) and b"24" in f["stdout"], """
kept = []
def pipes():
    for i in range(200): kept.append(os.pipe())
attempt("pipes", pipes)
""", nofile=256, off=("rlimits",), harm=reached)
attack("A88", "descriptors in unread sockets", says(109), """
import array
try:
    a, b = socket.socketpair()
    for k in range(4):
        a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 200))], socket.MSG_DONTWAIT)
    print("all")
except OSError as e:
    print(e.errno)
""", nofile=256, memory=64 * MIB, off=("rlimits",), harm=says("all"))
attack("A89", "watches and timers without end", lambda f: stopped(f), """
kept = []
def many(make):
    for i in range(1000): kept.append(make())
def made(number, *args):
    r = libc.syscall(number, *args)
    if r < 0: raise OSError(ctypes.get_errno(), "refused")
    return r
attempt("inotify", lambda: many(lambda: made(294, 0)))
attempt("epoll", lambda: many(lambda: made(291, 0)))
attempt("eventfd", lambda: many(lambda: made(290, 0, 0)))
attempt("timerfd", lambda: many(lambda: made(283, 1, 0)))
""", nofile=256, off=("rlimits",), harm=reached)
attack("A92", "names that are not there", says("done"), """
for i in range(100000):
    try: os.stat(f"/usr/missing-{i}-{'x' * 200}")
    except OSError: pass
print("done")
""", memory=64 * MIB)
attack("A93", "the page cache", stopped, 'attempt("drop", lambda: os.close(os.open("/proc/sys/vm/drop_caches", os.O_WRONLY)))', outside=reached)
attack("A94", "a stack without end", dies_of(11), """
sys.setrecursionlimit(10**9)
class A:
    def __getattr__(self, name): return getattr(self, name)
A().x
""", memory=256 * MIB)
attack("A94", "a larger stack", stopped,
       'attempt("stack", lambda: resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)))',
       off=("rlimits",), harm=reached)
# Without the deadline they live on until another limit: that of processor time.
BOMB = dict(wall_ms=300, cpu_ms=500, off=("wall_limit",), harm=ends("cpu"))
attack("A97", "a bomb in C that holds the lock", ends("wall", 9), "x = 9 ** 9 ** 9", **BOMB)
attack("A97", "digits without end", ends("wall", 9), "sys.set_int_max_str_digits(0)\nint('9' * 10**7)", **BOMB)
attack("A97", "an expression that goes back and back", ends("wall", 9), "import re\nre.match('(a+)+$', 'a' * 60 + 'b')", **BOMB)
attack("A97", "a dictionary whose keys all collide", ends("wall", 9), "{i * (2**61 - 1): i for i in range(1, 10**6)}", **BOMB)
attack("A97", "JSON a million deep", says("nested", "stopped", "RecursionError"),
       'import json\nattempt("nested", lambda: json.loads("[" * 10**6 + "]" * 10**6))')
attack("A98", "half as much again as there is", out_of_memory, "x = bytearray(96 << 20)\nprint('all')", memory=64 * MIB,
       off=("memory_limit",), harm=says("all"))

# ---- kernel surface -------------------------------------------------------------------------------------------------

attack("A100", "nested user namespaces", stopped, """
attempt("unshare", lambda: call(272, 0x10000000))
attempt("clone", lambda: call(56, 0x10020011, 0, 0, 0, 0))
""", off=("seccomp", "nested_namespaces"), harm=reached)
attack("A101", "clone3, and threads all the same", says("clone3", "stopped", 38, "thread"), """
attempt("clone3", lambda: call(435, struct.pack("8Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0), 64))
t = threading.Thread(target=lambda: print("thread")); t.start(); t.join()
""", off=("seccomp",), harm=lambda f: b"stopped 38" not in f["stdout"] and f["stdout"].endswith(b"thread\n"))
attack("A102", "into a namespace", stopped, """
fd = os.open("/proc/self/ns/uts", os.O_RDONLY)
attempt("setns", lambda: call(308, fd, 0))
""", kind="cold", off=("seccomp", "no_capabilities"), harm=reached)
attack("A104", "handles instead of names", lambda f: stopped(f) and f["stdout"].count(b"stopped 1") == 2, """
handle, mount = struct.pack("Ii", 128, 0) + bytes(128), ctypes.c_int()
buffer = ctypes.create_string_buffer(handle)
attempt("name", lambda: call(303, -100, b"/etc", buffer, ctypes.byref(mount), 0))
attempt("open", lambda: call(304, -100, buffer, 0))
""", off=("seccomp",), harm=reached)
attack("A105", "bpf, perf, userfaultfd, io_uring", stopped, """
attempt("io_uring", lambda: call(425, 4, ctypes.create_string_buffer(120)))
attempt("bpf", lambda: call(321, 0, ctypes.create_string_buffer(64), 64))
attempt("perf", lambda: call(298, ctypes.create_string_buffer(128), 0, -1, -1, 0))
attempt("userfaultfd", lambda: call(323, 1))
attempt("process_vm_readv", lambda: call(310, os.getpid(), 0, 0, 0, 0, 0))
attempt("kcmp", lambda: call(312, os.getpid(), os.getpid(), 0, 0, 0))
""", off=("seccomp",), harm=reached)
attack("A106", "a key for the next one", stopped, """
attempt("find", lambda: call(250, 10, -4, b"user", b"millrace-test", 0))
attempt("store", lambda: call(248, b"user", b"millrace-test", b"v", 1, -4))
""", count=2, off=("seccomp",), harm=reached)
# A kernel may have none: what counts is that the filter refuses before it is asked.
attack("A108", "the kernel's cipher sockets", says("alg", "stopped", 1), 'attempt("alg", lambda: call(41, 38, 5, 0))', off=("seccomp",),
       harm=lambda f: lines(f) in (["alg reached"], ["alg stopped 97"]))
attack("A109", "32-bit calls", dies_of(31), """
import mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(b"\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3")
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
""", off=("seccomp",), harm=lambda f: f["exit"]["signal"] != 31)
attack("A109", "x32 calls", dies_of(31), "libc.syscall(0x40000000 | 39)", off=("seccomp",), harm=lambda f: f["exit"]["signal"] == 0)
attack("A112", "flock as a signal to the neighbour", stopped, """
fd = os.open("/etc/passwd", os.O_RDONLY)
attempt("flock", lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
""", off=("seccomp",), harm=reached)
attack("A113", "leases and notices", stopped, """
fd = os.open("/usr", os.O_RDONLY)
own = os.open("x", os.O_CREAT | os.O_RDONLY)
attempt("lease", lambda: fcntl.fcntl(own, 1024, fcntl.F_RDLCK))
attempt("notify", lambda: fcntl.fcntl(fd, 1026, 1))
""", off=("seccomp",), harm=reached)
attack("A114", "personality and segments", stopped, """
attempt("personality", lambda: call(135, 0x0440000))
attempt("ldt", lambda: call(154, 0, ctypes.create_string_buffer(64), 64))
attempt("iopl", lambda: call(172, 3))
attempt("ioperm", lambda: call(173, 0x80, 1, 1))
attempt("arch", lambda: call(158, 0x9999, 0))
""", off=("seccomp",), harm=reached)
attack("A117", "capabilities raised", stopped, """
attempt("capset", lambda: call(126, struct.pack("Ii", 0x20080522, 0), struct.pack("6I", 1 << 21, 1 << 21, 0, 0, 0, 0)))
attempt("setuid", lambda: os.setuid(0))
attempt("ambient", lambda: call(157, 47, 2, 21, 0, 0))
""", kind="cold", off=("no_capabilities",), harm=reached)
attack("A118", "kernel settings", stopped, """
for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/self/uid_map", "/proc/self/attr/current",
             "/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/hostname"):
    attempt(path, lambda: write(path, b"0"))
""", kind="cold", off=("landlock", "proc_masks", "no_capabilities"), harm=reached)
attack("A122", "release_agent", stopped, """
attempt("sys", lambda: os.stat("/sys"))
attempt("agent", lambda: write("/sys/fs/cgroup/release_agent", b"/x"))
attempt("namespace", lambda: call(272, 0x02000000))
""", kind="cold", off=("seccomp", "no_capabilities"), harm=reached)
attack("A124", "filters and memory maps of one's own", stopped, """
allow = struct.pack("HBBI", 6, 0, 0, 0x7fff0000)
buffer = ctypes.create_string_buffer(allow)
program = struct.pack("HxxxxxxP", 1, ctypes.addressof(buffer))
attempt("seccomp", lambda: call(317, 1, 0, program))
attempt("listener", lambda: call(317, 1, 8, program))
attempt("prctl", lambda: call(157, 22, 2, program, 0, 0))
attempt("map", lambda: call(157, 35, 1, 0, 0, 0))
""", off=("seccomp",), harm=reached)
attack("A126", "code from /tmp and /dev/shm", stopped, """
import shutil, subprocess
def run(path):
    shutil.copy("/bin/true", path)
    subprocess.run([path], check=True)
attempt("tmp", lambda: run("/tmp/t"))
attempt("shm", lambda: run("/dev/shm/t"))
shutil.copy(next(p for p in ("/lib/x86_64-linux-gnu/libz.so.1", "/lib/x86_64-linux-gnu/libm.so.6") if os.path.exists(p)), "/tmp/l.so")
attempt("library", lambda: ctypes.CDLL("/tmp/l.so"))
""", off=("noexec_tmp", "landlock"), harm=reached)
attack("A126", "a library ahead of all others", stopped, """
import shutil, subprocess
shutil.copy("/lib/x86_64-linux-gnu/libm.so.6", "/tmp/l.so")
def preload():
    told = subprocess.run(["/bin/true"], env={"LD_PRELOAD": "/tmp/l.so"}, capture_output=True, check=True).stderr
    if told: raise PermissionError(errno.EPERM, told)
attempt("preload", preload)
""", off=("noexec_tmp", "landlock"), harm=reached)
attack("A126", "a program without a file has no more rights than its maker", lambda f: b"CapEff:\t0000000000000000" in f["stdout"]
       and b"NoNewPrivs:\t1" in f["stdout"] and b"Seccomp:\t2" in f["stdout"] and f["stdout"].count(b"canary") == 1, """
fd = os.memfd_create("x")
os.write(fd, open("/bin/cat", "rb").read())
print("canary", flush=True)
argv = (ctypes.c_char_p * 3)(b"cat", b"/proc/self/status", None)
call(322, fd, b"", argv, None, 0x1000)
""", off=("seccomp",), harm=lambda f: filters_here() in f["stdout"])
attack("A126", "one's own memory through /proc", stopped, """
data = ctypes.create_string_buffer(b"before")
def poke():
    fd = os.open("/proc/self/mem", os.O_RDWR)
    os.lseek(fd, ctypes.addressof(data), 0)
    os.write(fd, b"after")
attempt("mem", poke)
""", off=("landlock",), harm=reached)

# ---- network --------------------------------------------------------------------------------------------------------

attack("A129", "tokens and sockets of the host", stopped, outside=reached, code="""
for path in ("/var/run/secrets/kubernetes.io/serviceaccount/token", "/var/run/docker.sock", "/run", "/root", "/home",
             "/etc/resolv.conf", "/sys/class/dmi", "/boot"):
    attempt(path, lambda: os.stat(path))
for name in ("KUBERNETES_SERVICE_HOST", "REDIS_URL", "API_KEY", "MILLRACE_REDIS_URL"):
    attempt(name, lambda: os.environ[name])
""")
attack("A132", "every other way out", stopped, """
def send(family, kind, protocol, address):
    with socket.socket(family, kind, protocol) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.settimeout(1)
        s.connect(address)
        s.send(b"x")
attempt("udp", lambda: send(socket.AF_INET, socket.SOCK_DGRAM, 0, ("127.0.0.1", 53)))
attempt("udp 6", lambda: send(socket.AF_INET6, socket.SOCK_DGRAM, 0, ("::1", 53)))
attempt("broadcast", lambda: send(socket.AF_INET, socket.SOCK_DGRAM, 0, ("127.255.255.255", 9)))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("ping", lambda: send(socket.AF_INET, socket.SOCK_DGRAM, 1, ("127.0.0.1", 0)))
attempt("sctp", lambda: send(socket.AF_INET, socket.SOCK_STREAM, 132, ("127.0.0.1", 9)))
attempt("dccp", lambda: socket.socket(socket.AF_INET, 6, 33))
attempt("mptcp", lambda: send(socket.AF_INET, socket.SOCK_STREAM, 262, ("127.0.0.1", 9)))
for family in (16, 17, 38, 40, 44):
    attempt(str(family), lambda: socket.socket(family, socket.SOCK_RAW, 0))
""", off=("seccomp", "landlock", "net_namespace"), kind="cold", harm=reached)
attack("A133", "a listener", stopped, """
def listen(address):
    s = socket.socket(); s.bind((address, 0)); s.listen()
attempt("loopback", lambda: listen("127.0.0.1"))
attempt("all", lambda: listen("0.0.0.0"))
""", off=("landlock",), harm=reached)

# ---- interpreter, protocol ------------------------------------------------------------------------------------------

attack("A50", "forged frames, and an honest end", lambda f: f["exit"]["exit_code"] == 3 and f["exit"]["end"] == "own", """
for t in (65, 70, 71, 75):
    os.write(1, struct.pack("<IBBBB", 48, t, 0, 0, 0) + bytes(48))
for fd in range(3, 30):
    try: os.write(fd, struct.pack("<IBBBB", 48, 70, 0, 0, 0) + bytes(48))
    except OSError: pass
os._exit(3)
""", off=("close_fds",), harm=lambda f: f["error"] != "")
attack("A146", "everything replaced", lambda f: f["exit"]["exit_code"] == 9 and f["exit"]["end"] == "own", """
import atexit, json
sys.stdout = None
json.dumps = os._exit = sys.exit = atexit._run_exitfuncs = lambda *a: None
atexit.register(lambda: os.write(1, b"frame"))
raise SystemExit(9)
""")
attack("A49", "exit 0 with an error text", lambda f: (f["stdout"], f["stderr"], f["exit"]["exit_code"]) == (b"", b"error\n", 0), """
print("error", file=sys.stderr)
""")
attack("A150", "just written, then executed", says(0), """
import shutil, subprocess
bad = 0
for i in range(100):
    shutil.copy("/bin/true", f"t{i % 7}.{i}")
    try: bad += subprocess.run([f"./t{i % 7}.{i}"]).returncode
    except OSError: bad += 1
print(bad)
""")
attack("A149", "a NUL in the source", says(1), "print(1)\n\0print(2)\n")
