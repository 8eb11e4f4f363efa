# SPDX-License-Identifier: Apache-2.0
"""The switch of lib/base/fault.h: which call of a set-up fails next, and what came of it. Here are the lists of what is passed over by
design, of what ends more than one pod, and of the calls that are not made to fail, each with its reason."""
import ctypes
import errno
import mmap
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAGIC = 0x544C4146
SCOPES = {name.lower(): number for number, name in
          enumerate(re.findall(r"^    FAULT_(\w+),", (ROOT / "lib/base/fault.h").read_text(), re.M))}
WRAPPED = re.findall(r"^F\((\w+),", (ROOT / "lib/base/fault.def").read_text(), re.M)
EVERY = 0xFFFFFFFF  # each call fails
ERRORS = (errno.EPERM, errno.ENOSYS, errno.ENOMEM)

# The file a scope's process is executed from.
FILES = {**dict.fromkeys(("spawner_start", "spawner_pod", "worker", "helper_exec"), "bin/millrace-spawner"),
         **dict.fromkeys(("template_pod", "forked"), "worker/templates/libmillrace-fork.so")}

# (call, where it is made): why what comes after it may go on without it.
PASSED_OVER = {
    ("prctl", "helper.c:child_main"): "the name that ps shows",
    ("open", "runner.c:runner_begin"): "without /proc/loadavg the processes of a run are not counted",
    ("pread", "usage.c:newest_pid"): "then they are not counted",
    ("pread", "usage.c:read_counter"): "a counter that is not read counts from 0, which makes a limit come sooner",
    ("setgroups", "lockdown.c:step_groups"): "EPERM where it is denied to the namespace; then there has to be no group",
    ("setgroups", "process.c:helper_child"): "as in lockdown.c",
    ("setgroups", "helper_template.c:become_ordinary"): "as in lockdown.c",
    ("syscall", "landlock.c:landlock_abi"): "ENOSYS where this host has none, which was accepted by name",
    ("prctl", "clone_owned.c:clone_owned"): "the helper's end is told by its socket too",
    ("syscall", "slice.c:set"): "the length of a time slice: speed",
    ("readlink", "main.c:main"): "where the helper's program lies: it is given, or found by name, or nothing starts",
    ("getrlimit", "main.c:raise_files"): "fewer pods, then",
    ("setrlimit", "main.c:raise_files"): "fewer pods, then",
    ("getrlimit", "helper.c:set_up"): "fewer pods, then",
    ("opendir", "cgroup_file.c:cgroup_remove_all"): "what an earlier spawner left is in the way of the next step, or of none",
    ("mkdir", "cgroup.c:open_base"): "the other place is tried; with none the limit is missing, and that is refused",
    ("open", "cgroup.c:open_base"): "as for mkdir",
    ("mkdirat", "cgroup.c:open_base"): "as for mkdir",
    ("open", "cgroup.c:v2_offers"): "a controller that is not found is missing, and that is refused",
    ("openat", "cgroup_file.c:cgroup_read_text"): "what a pod has used is told as 0; a cgroup that cannot be seen to be empty is removed",
    ("read", "cgroup_file.c:cgroup_read_text"): "as for openat",
    ("pread", "cgroup.c:read_cpu_ns"): "as for openat",
    ("openat", "cgroup.c:make"): "a counter is not read",
    ("syscall", "preflight_look.c:has_call"): "only ENOSYS says that there is no such call; the first use of it tells the rest",
    ("syscall", "preflight_look.c:landlock_version"): "without Landlock: refused, or told where the row is",
    ("socket", "preflight_look.c:has_no_af_alg"): "no such socket: that is well",
    ("malloc", "??:__vasprintf_internal"): "libc keeps the larger piece that it has",
    ("pread", "cgroup.c:reset"): "what is charged to a used cgroup is not known, so it is taken as it is",
    ("flock", "idmap.c:idmap_reserve"): "the next range of ids",
    ("access", "template.c:templates_init"): "a language without its interpreter is refused by name",
    ("signal", "helper.c:main"): "two cannot be set, and the others are as they were",
    ("lstat", "helper.c:look_at_host"): "a pod without this folder, in which what needs it fails",
    ("readlink", "helper.c:look_at_host"): "bound instead of linked",
    ("open", "process.c:worker_child"): "only for a worker that lies where only we can go",
}

# (call, where it is made): why the spawner ends, and the worker and every pod with it, so that the supervisor starts them again.
ENDS_ALL = {
    ("setns", "netns.c:go"): "nothing of ours may run in a pod's network",
    ("syscall", "clone_owned.c:clone_owned"): "nothing of ours may go on under another id",
    ("recvmsg", "fdmsg.c:fdmsg_recv"): "a request that is lost leaves its asker waiting for ever",
    ("sendmsg", "fdmsg.c:fdmsg_send"): "an answer that is lost does too",
    ("syscall", "pods.c:doom"): "a pod that cannot be killed alone is ended with all others",
}

# Functions of libc that our set-up calls and that are not made to fail.
NOT_FAILED = {
    "they cannot fail, or their failure changes nothing": """
        _exit abort alarm close closedir dirfd environ fclose fflush free getenv geteuid getgid getpid getppid getuid isatty kill pause raise
        sigaddset sigemptyset sigfillset sysconf umask clock_gettime clock_getcpuclockid nanosleep gmtime_r stderr stdout fputs fwrite
        shutdown uname""",
    "what is only told of the host": "fstatvfs",
    "memory and text": """
        memchr memcmp memcpy memmove memset memrchr strchr strcmp strcspn strlen strncmp strncasecmp strnlen strrchr strstr strtol strtoul
        strtoull strerror strerror_r strerrordesc_np strftime snprintf qsort qsort_r fgets inet_pton __memcpy_chk __snprintf_chk
        __vsnprintf_chk __fprintf_chk __errno_location __stack_chk_fail __assert_fail __asprintf_chk __tls_get_addr _setjmp __longjmp_chk""",
    "waiting and reading in the service of pods, not setting them up": """
        epoll_wait poll __poll_chk wait4 readdir listen pthread_sigmask""",
    "collecting and placing files, artifacts and tools, once the program is over or before it: test_7_files.py": """
        fchown fchownat futimens readlinkat __readlinkat_chk rename""",
    "the speed of a template: huge.c, mappings.c and settle_heaps() go on without": "madvise malloc_trim mremap munmap sbrk",
    "libseccomp has one result for all of a filter, which build() checks": """
        seccomp_attr_set seccomp_export_bpf seccomp_init seccomp_release seccomp_rule_add seccomp_rule_add_array""",
    "of an own child it fails only when a signal comes": "waitpid",
    "a name for a user of /etc/subuid; the number is tried as well": "getpwuid",
}


class Layout(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_uint32) for name in (
        "magic", "scope", "at", "error", "once", "count", "hit", "ran", "ran_after_hit", "ran_struck", "sites_n")),
        ("name", ctypes.c_char * 32), ("caller", ctypes.c_uint64), ("sites", ctypes.c_uint64 * 512)]


class Switch:
    def __init__(self, build, path):
        self.build, self.path, self.places = pathlib.Path(build), path, {}
        path.write_bytes(bytes(ctypes.sizeof(Layout)))
        path.chmod(0o666)
        with open(path, "r+b") as file:
            self.shared = Layout.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(Layout)))
        self.shared.magic = MAGIC
        self.environment = {"TEST_FAIL_STEP": str(path)}

    def arm(self, scope, at, error=errno.EPERM, once=False):
        s = self.shared
        s.scope = s.count = s.hit = s.ran = s.ran_after_hit = s.ran_struck = s.sites_n = 0
        s.at, s.error, s.once, s.name = at, error, once, b""
        s.scope = SCOPES[scope]

    def disarm(self):
        self.shared.scope = 0

    def step(self, scope):
        """The call that failed, and the functions around it from the innermost on, as file:function."""
        key = FILES.get(scope, "bin/millrace-podhelper"), self.shared.caller
        if key not in self.places:
            self.places[key] = self.look_up(*key)
        return self.shared.name.decode(), self.places[key]

    def look_up(self, file, caller):
        header = subprocess.run(["readelf", "-lW", self.build / file], capture_output=True, text=True, check=True).stdout
        base = min(int(row.split()[2], 16) for row in header.splitlines() if row.split()[:1] == ["LOAD"])
        out = subprocess.run(["addr2line", "-f", "-i", "-e", self.build / file, hex(base + caller - 1)], capture_output=True, text=True,
                             check=True).stdout.splitlines()
        return [f"{pathlib.Path(place.rsplit(':', 1)[0]).name}:{function}" for function, place in zip(out[::2], out[1::2])]

    def listed(self, scope, table):
        call, around = self.step(scope)
        return any((call, place) in table for place in around)
