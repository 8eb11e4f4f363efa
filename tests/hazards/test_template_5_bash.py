# SPDX-License-Identifier: Apache-2.0
"""A Bash that waits does what `bash main.sh` does: each program in a pod where one waits, in a cold pod and, where nothing of a pod is in its
output, by hand; byte for byte."""
import os
import subprocess

import pytest

COMMAND = ["/bin/bash", "--noprofile", "--norc", "main.sh"]
ARGS = ["a b", "-y", "", "ä"]
ENV = {"PATH": "/usr/bin:/bin", "HOME": "/mnt/data", "LANG": "C.UTF-8", "A": "b c", "EMPTY": ""}
STDIN = "first line\nsecond\nthird"

# name: program, or (program, environment besides ENV)
PROGRAMS = {
    "nothing": "",
    "no last newline": "echo x",
    "its names": 'echo "$0|$#|$*|$_|$-|$SHLVL|${BASH_SOURCE[0]}|$LINENO|$BASH|$BASH_VERSION|$BASH_ARGV0|${FUNCNAME-}|$BASH_SUBSHELL|$OPTIND"\n'
                 'printf "%q %q %s\\n" "$IFS" "$PS4" "${OLDPWD-none}"; printf "<%s>" "$@"; pwd',
    "environment": "env | sort; export -p; echo ${LD_PRELOAD-none}; bash -c 'echo $0 $SHLVL ${LD_PRELOAD-none}'",
    "options": "set -o; shopt; trap; alias; declare -F; compgen -A function; hash; enable; complete; jobs; dirs; umask 022; umask",
    "an error has its line": "echo one\n\nnosuch\n(exit 3); echo $?\nls /nosuch/file\n< /nosuch cat\nexit 9\n",
    "an error of syntax": "echo before\nif true; then\n  echo x\ndone\n",
    "an open quote": "echo before\n\necho \"abc\n",
    "an unset variable": "set -u\necho $nothing\necho never\n",
    "an error ends it": "set -eE -o pipefail\ntrap 'echo at $LINENO: $BASH_COMMAND' ERR\nfalse | true\necho never",
    "input": 'read -r a b; echo "$a,$b"; cat; read -r c || echo end; echo "$c"',
    "input is also a program's": "head -c 3; source /dev/stdin",
    "a document": "cat <<X\n$A $((6 * 7)) $(echo x)\nX\ncat <<'X'\n$A\nX\ncat <<< here",
    "exec": "exec /bin/echo replaced",
    "exec of nothing": "exec /nosuch; echo never",
    "descriptors": "exec 3>out 5<main.sh; echo x >&3; head -n 1 <&5; exec 3>&-; cat out; { echo y; } {fd}>&1; echo $fd; echo z >&7",
    "in the background": "sleep 0.01 & wait $!; echo $?; { exit 4; } & wait $!; echo $?; (exit 5) & wait -n; echo $?; jobs; coproc cat; echo ${#COPROC[@]}",
    "sourced": 'echo \'echo "$BASH_SOURCE $LINENO $1 $0"; return 3\' > lib; source ./lib q; echo $?; . ./nosuch; echo $?',
    "traps": "trap 'echo exit $?' EXIT; trap 'echo usr' USR1; kill -USR1 $$; trap -p; (exit 2); exit 5",
    "terminated": "trap 'echo never' EXIT; kill -9 $$; echo never",
    "a signal's status": "sleep 100 & kill -TERM $!; wait $!; echo $?; { bash -c 'kill -SEGV $$'; } 2> said; echo $? $(cut -d' ' -f1-3 said); kill -TERM $$",
    "functions": "f() { echo \"${FUNCNAME[*]} ${BASH_LINENO[*]} $1\"; caller 0; return 6; }\nf x; echo $?\nexport -f f; bash -c 'f y'; declare -f f",
    "traced": "PS4='+$LINENO '\nset -xv\nx=1\ncat <<< $x\n(echo $x)\nset +x",
    "substitutions": "diff <(echo a) <(echo b); mapfile -t l < <(seq 3); echo ${#l[@]} ${l[*]^^} ${A/b/$'\\t'} $(< main.sh)",
    "arguments": 'shift; while getopts yz o; do echo "$o $OPTIND"; done; set -- p q; echo "$@"; echo "${BASH_ARGV[*]-none}"',
    "nested too deep": "FUNCNEST=50; f() { f; }; f; echo $?",
    "statuses": "for i in 0 1 255 256 300; do (exit $i); echo $?; done; exit 257",
    "of another shell": "#!/bin/sh\r\necho x\r\n",
    "no text": "\x7fELF\0\0\0\0 \0\n\0echo x\n",
    "not UTF-8": "x=$'\\xff\\xc3'; echo ${#x} \"$x\"; printf '%q\\n' \"$x\"",
    "commands": "type -a echo ls; command -v bash; builtin cd /tmp; echo $PWD $OLDPWD ~; echo ~+ ~-; history; help : | head -n 2",
    "long": "# " + "x" * (1 << 20) + "\n" + ":\n" * 5000 + "echo $LINENO; nosuch",
    "strict by the environment": ("echo $-; false; echo never", {"SHELLOPTS": "errexit:xtrace"}),
    "options by the environment": ("shopt nullglob dotglob; echo *.none x", {"BASHOPTS": "nullglob:dotglob"}),
    "of the standard": ("set -o | grep posix; echo $-; f() { :; }; export x=~; echo $x; nosuch; readonly r=1; r=2; echo never", {"POSIXLY_CORRECT": "1"}),
    "of the C locale": ('x=äö; echo ${#x} "${x:0:1}" ${x^^}; printf "%s\\n" b A a B | sort', {"LC_ALL": "C"}),
    "of UTF-8": ('x=äö; echo ${#x} "${x:0:1}" ${x^^} $\'\\u20ac\'; printf "%s\\n" b A a B | sort', {"LC_ALL": "C.UTF-8"}),
    "of no locale": ("echo x; echo $LC_ALL", {"LC_ALL": "xx_YY.UTF-8"}),
    "a file before it": ("echo $BASH_ENV", {"BASH_ENV": "/nosuch"}),
    "a function of the environment": ("f x; declare -F", {"BASH_FUNC_f%%": "() { echo \"f $1\"; }"}),
    "names that are none": ("env | grep -a '^1'; echo ${PATH}; env | grep -ac .", {"1X.Y": "z", "PATH": "/bin"}),
    "its own names": ("echo $- $IFS $RANDOM_ $SHLVL $PPID_ $UID_ ${PIPESTATUS[*]} $OPTERR", {"IFS": "x", "SHLVL": "41", "OPTERR": "0", "_": "gone", "PS4": "! ", "OPTIND": "3"}),
    "a long environment": ("echo ${#LONG} ${#A}; bash -c 'echo ${#LONG}'", {"LONG": "y" * 100_000}),
}


def environment(more):
    return [f"{name}={value}" for name, value in (ENV | more).items()]


def in_pod(place, kind, code, more=None, args=(), command=(*COMMAND,), **options):
    return place.run(*command, *args, kind=kind, name="main.sh", code=code, env=environment(more or {}), **options)


def ended(facts):
    assert facts["error"] == "" and facts["started"], facts
    end = facts["exit"]
    return facts["stdout"], facts["stderr"], -end["signal"] if end["signal"] else end["exit_code"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_by_hand(place, tmp_path, name):
    row = PROGRAMS[name]
    code, more = row if isinstance(row, tuple) else (row, {})
    (tmp_path / "main.sh").write_text(code)
    env = dict(one.split("=", 1) for one in environment({"HOME": str(tmp_path)} | more))
    done = subprocess.run([*COMMAND, *ARGS], cwd=tmp_path, env=env, input=STDIN.encode(), capture_output=True, timeout=60, umask=0o077, check=False)
    here = str(tmp_path).encode()
    by_hand = done.stdout.replace(here, b"/mnt/data"), done.stderr.replace(here, b"/mnt/data"), done.returncode
    assert [ended(in_pod(place, kind, code, more, ARGS, stdin=STDIN)) for kind in ("bash", "cold")] == [by_hand, by_hand]


# What is of the pod, and so the same in both: less what no two processes have alike.
IN_PODS = {
    "variables": "set; compgen -v; declare -p | grep -vE 'RANDOM|EPOCH|SECONDS|BASHPID'; echo $$ $PPID $BASHPID $UID $EUID ${GROUPS[*]}",
    "open files": "ls /proc/$$/fd; ls /proc/self/fd; readlink /proc/$$/exe /proc/$$/cwd /proc/$$/root; ls -A /mnt/data /tmp /dev/shm",
    "rights": "while read -r line; do [[ $line == @(Umask|Uid|Gid|Groups|NS*|Threads|Sig[BPIC]*|ShdPnd|Cap*|NoNewPrivs|Seccomp*):* ]] && echo $line; done"
              " < /proc/self/status; cat /proc/$$/cgroup /proc/$$/oom_score_adj; ulimit -aH",
    "processes": "cat /proc/[0-9]*/comm; ps -o pid,ppid,pgid,sid,ni -p $$ 2>&1 | tail -n 1",
}


@pytest.mark.parametrize("name", IN_PODS)
def test_as_in_a_cold_pod(place, name):
    warm, cold = [ended(in_pod(place, kind, IN_PODS[name])) for kind in ("bash", "cold")]
    assert warm == cold and warm[0]


def test_only_its_files_in_proc_are_from_before_the_job(place):
    """docs/TEMPLATES.md: what it starts has the job's."""
    code = "cat /proc/$$/cmdline /proc/$$/environ; echo; cat /proc/self/cmdline /proc/self/environ"
    own, theirs = ended(in_pod(place, "bash", code, args=["x"]))[0].split(b"\n")
    assert own == "\0".join([*COMMAND, "LD_PRELOAD=/proc/self/fd/5", ""]).encode()
    assert b"LD_PRELOAD" not in theirs and b"\0A=b c\0" in theirs


def test_another_command_of_bash(place):
    assert ended(in_pod(place, "bash", "", command=["/bin/bash", "-c", 'echo "$0 $1 $-"', "x", "y"])) == (b"x y hBc\n", b"", 0)


def test_no_two_have_the_same_random_numbers(place):
    runs = [ended(in_pod(place, "bash", "echo $RANDOM $RANDOM $RANDOM $SRANDOM"))[0] for _ in range(3)]
    assert len(set(runs)) == 3


def test_the_text_of_a_program_is_not_kept_in_memory(place):
    code = "#" + "x" * (6 << 20) + "\ngrep RssAnon /proc/$$/status"
    warm, cold = [int(ended(in_pod(place, kind, code))[0].split()[1]) for kind in ("bash", "cold")]
    assert warm < cold + 1024


@pytest.mark.parametrize("limit, code, more", [("nofile", "ulimit -n", 77), ("fsize", "ulimit -f", 8192)])
def test_limits_are_the_jobs(place, limit, code, more):
    warm, cold = [ended(in_pod(place, kind, code, **{limit: more})) for kind in ("bash", "cold")]
    assert warm == cold and warm[0].strip() in (b"77", b"8")


def test_what_it_cannot_take_is_told(place):
    facts = in_pod(place, "bash", "echo never", command=["/bin/echo", "x"])
    assert "the job is not for /bin/bash" in facts["error"] and facts["stdout"] == b"" and not facts["started"]
    facts = place.run(*COMMAND, kind="bash", name="x" * 255, code="echo never", fsize=1)
    assert os.strerror(27) in facts["error"] or facts["exit"]["signal"] == 25, facts
