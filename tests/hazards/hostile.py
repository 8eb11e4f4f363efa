# SPDX-License-Identifier: Apache-2.0
"""Programs that are hostile by chance: combinations of system calls with arguments that suit them ill, in processes and threads that end
one another. The same seed gives the same programs. `python hostile.py SEED NUMBER` prints one."""
import random
import sys

# What must fail in a pod, whatever came before: name, number (x86-64), arguments. Words are values below; numbers are themselves.
MUST_FAIL = [
    ("mount", 165, "str str str flags ptr"), ("mount bind", 165, "str str ptr 4096 0"), ("umount2", 166, "str 2"), ("pivot_root", 155, "str str"),
    ("chroot", 161, "str"), ("unshare user", 272, "0x10000000"), ("unshare any", 272, "0x7e020000"), ("setns", 308, "fd 0"),
    ("clone user", 56, "0x10000011 0 0 0 0"), ("ptrace seize", 101, "0x4206 pid 0 0"), ("ptrace attach", 101, "16 pid 0 0"),
    ("process_vm_readv", 310, "pid ptr 1 ptr 1 0"), ("process_vm_writev", 311, "pid ptr 1 ptr 1 0"), ("pidfd_getfd", 438, "fd fd 0"),
    ("kcmp", 312, "pid pid 0 0 0"), ("bpf", 321, "small ptr 128"), ("perf_event_open", 298, "ptr 0 -1 -1 0"), ("userfaultfd", 323, "1"),
    ("io_uring_setup", 425, "4 zeros"), ("add_key", 248, "key key ptr 8 -2"), ("keyctl", 250, "0 -2 1"), ("request_key", 249, "key key 0 -2"),
    ("open_by_handle_at", 304, "-100 ptr 0"), ("name_to_handle_at", 303, "-100 str ptr ptr 0"), ("init_module", 175, "ptr 4096 str"),
    ("finit_module", 313, "fd str 0"), ("delete_module", 176, "str 0"), ("kexec_load", 246, "0 0 0 0"), ("reboot", 169, "0xfee1dead 672274793 0 0"),
    ("swapon", 167, "str 0"), ("swapoff", 168, "str"), ("acct", 163, "str"), ("quotactl", 179, "0x800002 str 0 ptr"), ("sethostname", 170, "ptr 4"),
    ("setdomainname", 171, "ptr 4"), ("iopl", 172, "3"), ("ioperm", 173, "0x80 8 1"), ("modify_ldt", 154, "1 ptr 16"),
    ("clock_settime", 227, "0 time"), ("settimeofday", 164, "time 0"), ("syslog", 103, "3 ptr 64"), ("mknod char", 133, "name 0x21b6 0x103"),
    ("mknod block", 133, "name 0x61b6 0x800"), ("socket alg", 41, "38 5 0"), ("socket packet", 41, "17 3 768"), ("socket netlink", 41, "16 3 small"),
    ("socket raw", 41, "2 3 1"), ("socket vsock", 41, "40 1 0"), ("setuid", 105, "0"), ("setresgid", 119, "0 0 0"), ("capset", 126, "cap caps"),
    ("fanotify_init", 300, "0 0"), ("vhangup", 153, ""), ("lookup_dcookie", 212, "1 ptr 64"), ("fsopen", 430, "str 0"), ("fsmount", 432, "fd 0 0"),
    ("open_tree", 428, "-100 str 1"), ("move_mount", 429, "-100 str -100 str 0"), ("mount_setattr", 442, "-100 str 0x8000 zeros 32"),
    ("own filter", 317, "1 0 filter"), ("own filter by prctl", 157, "22 2 filter 0 0"), ("flock", 73, "0 2"),
    ("clone3", 435, "zeros 88"), ("personality", 135, "0x440000"), ("chown", 92, "str 0 0"), ("write to kernel", 257, "-100 sys 1 0"),
    ("nice", 141, "0 0 -20"), ("fifo", 144, "0 1 one"), ("drop oom", 257, "-100 oom 1 0"), ("bind", 49, "tcp inet 16"), ("connect", 42, "tcp inet 16"),
]
# What may succeed or fail, and must not help.
MAY = [
    ("openat", 257, "-100 str int int"), ("read", 0, "fd ptr size"), ("write", 1, "3 ptr size"), ("pwrite64", 18, "fd ptr small int"), ("close", 3, "fd"),
    ("mmap", 9, "0 size small 0x22 -1 0"), ("mremap", 25, "ptr small size 1 0"), ("mprotect", 10, "int small small"), ("madvise", 28, "int small small"),
    ("brk", 12, "int"), ("shmget", 29, "small size 0x3b6"), ("shmat", 30, "small 0 0"), ("semget", 64, "small small 0x3b6"), ("msgget", 68, "small 0x3b6"),
    ("fork", 57, ""), ("vfork-like clone", 56, "0x4111 0 0 0 0"), ("clone parent", 56, "0x8011 0 0 0 0"), ("kill", 62, "small int"),
    ("kill all", 62, "-1 small"), ("kill the first", 62, "1 small"), ("tgkill", 234, "1 1 small"), ("sigqueue", 129, "1 17 ptr"), ("setsid", 112, ""),
    ("setpgid", 109, "0 small"), ("prctl", 157, "small int int int int"), ("arch_prctl", 158, "int ptr"), ("prlimit64", 302, "0 small ptr ptr"),
    ("ioctl", 16, "fd int ptr"), ("tiocsti", 16, "0 0x5412 ptr"), ("fcntl", 72, "fd small int"), ("dup2", 33, "fd small"), ("pipe2", 293, "ptr int"),
    ("socketpair", 53, "1 1 0 ptr"), ("socket", 41, "int small small"), ("unix bind", 49, "unix addr 20"), ("sendmsg", 46, "fd zeros int"),
    ("memfd_create", 319, "name small"), ("execve", 59, "str 0 0"), ("execveat", 322, "fd str 0 0 int"), ("symlink", 88, "str name"),
    ("link", 86, "str name"), ("rename", 82, "name str"), ("mkdir", 83, "name 511"), ("unlink", 87, "str"), ("truncate", 76, "name size"),
    ("fallocate", 285, "fd 0 0 size"), ("sendfile", 40, "fd fd 0 size"), ("splice", 275, "fd 0 fd 0 size 0"), ("tee", 276, "fd fd size 0"),
    ("inotify_add_watch", 254, "fd str 0xfff"), ("epoll_create", 213, "1"), ("eventfd2", 290, "0 0"), ("timerfd_create", 283, "1 0"),
    ("signalfd4", 289, "-1 ptr 8 0"), ("futex", 202, "ptr small int 0 0 0"), ("sched_setaffinity", 203, "0 8 ptr"), ("landlock_restrict_self", 446, "fd 0"),
    ("rseq", 334, "int 32 0 0"), ("set_robust_list", 273, "int 24"), ("sigaltstack", 131, "int 0"), ("setxattr", 188, "name key ptr 8 0"),
    ("pidfd_send_signal", 424, "fd small 0 0"), ("close_range", 436, "3 0xffffffff 4"), ("membarrier", 324, "small 0 0"), ("seccomp notif sizes", 317, "3 0 ptr"),
    ("any number", None, "int int int int int int"),
]
PATHS = ["/", "/proc/1/mem", "/proc/self/mem", "/proc/self/exe", "/proc/self/ns/user", "/proc/self/fd/0", "/proc/sys/kernel/core_pattern", "/dev/shm/x", "/tmp/x",
         "/mnt/data", "/usr/bin/su", "/etc/passwd", "/sys/fs/cgroup", "..", "/proc/self/root/..", "/dev/full", "/proc/kcore", "/proc/sysrq-trigger"]
INTS = [0, 1, 2, -1, -100, 7, 4096, 65536, 1 << 31, (1 << 31) - 1, 1 << 32, (1 << 63) - 1, -(1 << 63), 0x10000000, 0xDEADBEEF, 0x7FFFFFFFF000]
# Not by chance: their numbers end, stop or replace the process, or print over what it says (they have rows above where they are of use).
NEVER = {1, 15, 18, 20, 34, 60, 61, 130, 231, 247, 296, 59, 322, 436, 3, 33, 292}

BODY = '''
import ctypes, fcntl, os, signal, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
text = ctypes.create_string_buffer(bytes(range(256)) * 256)
kept = []
def pointer(data):
    kept.append(ctypes.create_string_buffer(data, max(len(data), 1) + 8))
    return ctypes.addressof(kept[-1])
def sock(*what):
    return libc.syscall(41, *what, 0)
ALLOW = pointer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
VALUES = {
    "ptr": lambda: ctypes.addressof(text), "zeros": lambda: pointer(bytes(256)), "pid": lambda: os.getppid(), "fd": lambda: FILES[0],
    "time": lambda: pointer(struct.pack("ll", int(time.time()), 0)), "key": lambda: pointer(b"user"), "cap": lambda: pointer(struct.pack("Ii", 0x20080522, 0)),
    "caps": lambda: pointer(struct.pack("6I", 1 << 21, 1 << 21, 0, 0, 0, 0)), "filter": lambda: pointer(struct.pack("HxxxxxxP", 1, ALLOW)),
    "sys": lambda: pointer(b"/proc/sys/kernel/core_pattern"), "oom": lambda: pointer(b"/proc/self/oom_score_adj"), "one": lambda: pointer(struct.pack("i", 1)),
    "tcp": lambda: sock(2, 1), "unix": lambda: sock(1, 1), "inet": lambda: pointer(struct.pack("!HH4s8x", 0, 0, bytes([127, 0, 0, 1])).replace(b"\\0\\0", b"\\2\\0", 1)),
    "addr": lambda: pointer(struct.pack("H", 1) + b"\\0hostile"),
}
def value(v):
    return ctypes.c_long(v if isinstance(v, int) else VALUES[v]() if v in VALUES else pointer(v.encode()))
def make(calls):
    for name, number, must_fail, values in calls:
        arguments = [value(v) for v in values]
        got = libc.syscall(ctypes.c_long(number), *arguments)
        if must_fail and got == 0 and number == 56: os._exit(0)
        if must_fail and got >= 0: os.write(TOLD, f"reached {name}\\n".encode())
TOLD = fcntl.fcntl(1, fcntl.F_DUPFD, 500)  # no call of a program closes or replaces this one
for threads, groups in ROUNDS:
    pid = os.fork()
    if pid == 0:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        FILES = [os.open(path, os.O_RDWR | os.O_CREAT if i == 0 else os.O_RDONLY) for i, path in enumerate(["own", "/usr", "/etc/passwd"])]
        others = [threading.Thread(target=make, args=(g,), daemon=True) for g in groups[1:]] if threads else []
        for t in others: t.start()
        for g in groups[:1] if threads else groups: make(g)
        for t in others: t.join()
        os._exit(0)
    until = time.monotonic() + 0.6
    while time.monotonic() < until and os.waitpid(pid, os.WNOHANG) == (0, 0): time.sleep(0.002)
    try: os.kill(pid, 9)
    except OSError: pass
os.write(TOLD, b"end\\n")
'''


def argument(word, chance):
    if word == "str":
        return chance.choice(PATHS)
    if word == "name":
        return chance.choice(["a", "b", "own", "../x", "d/e"])
    if word == "int":
        return chance.choice(INTS)
    if word == "small":
        return chance.randrange(64)
    if word == "flags":
        return 1 << chance.randrange(32)
    if word == "size":
        return chance.choice([0, 1, 4096, 1 << 20, 256 << 20, 1 << 46])
    return int(word, 0) if word.lstrip("-")[0].isdigit() else word


def call(chance):
    must_fail = chance.random() < 0.5
    name, number, words = chance.choice(MUST_FAIL if must_fail else MAY)
    if number is None:
        number = chance.choice([n for n in range(470) if n not in NEVER])
    return name, number, must_fail, [argument(w, chance) for w in words.split()]


def program(seed, number):
    chance = random.Random(f"{seed}:{number}")
    rounds = [(chance.random() < 0.4, [[call(chance) for _ in range(chance.randint(2, 10))] for _ in range(chance.randint(1, 3))])
              for _ in range(chance.randint(1, 3))]
    return f"ROUNDS = {rounds!r}\n{BODY}"


if __name__ == "__main__":
    print(program(int(sys.argv[1]), int(sys.argv[2])))
