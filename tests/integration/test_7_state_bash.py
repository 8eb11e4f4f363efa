# SPDX-License-Identifier: Apache-2.0
"""The state of Bash programs, kept when it is asked for: folder, exported variables, functions."""
import concurrent.futures
import textwrap

import pytest
from contract import Session
from system import wait_until


@pytest.fixture
def shell(api):
    return Session(api, "bash", state=True)


def named(body):
    return {w["name"]: w["reason"] for w in body.get("state_warnings") or ()}


def raw(*pieces):
    return b"\1MRB1\0" + b"".join(part.encode() + b"\0" for piece in pieces for part in piece)


def test_folder_variables_and_functions_are_there_in_the_next_run(shell):
    first = shell("""
        export GREETING='hello you' PATH="$PATH:/mnt/data/bin"
        local_only=1
        greet() { echo "$GREETING, $1"; }
        mkdir -p work/deep; cd work/deep
        """)
    assert (first["exit_code"], first["has_state"], first["state_version"], named(first)) == (0, True, 1, {})
    body = shell("greet Ann; pwd; echo ${local_only-none}; bash -c 'echo $GREETING'; echo ${PATH##*:}; echo $0")
    assert body["stdout"].splitlines() == ["hello you, Ann", "/mnt/data/work/deep", "none", "hello you", "/mnt/data/bin", "/mnt/data/main.sh"]
    assert body["state_version"] == 2 and body["stderr"] == ""
    shell("unset GREETING; unset -f greet; cd /mnt/data")
    assert shell.prints("echo ${GREETING-gone}; declare -F greet; pwd") == "gone\n/mnt/data"


def test_without_asking_nothing_is_kept(shell, api):
    body = api.exec("bash", "export A=1")
    assert body["has_state"] is False and "state_version" not in body
    shell("export A=1")
    assert api.exec("bash", "echo ${A-none}; export A=2", session_id=shell.id)["stdout"] == "none\n"
    assert shell.prints("echo $A") == "1"
    assert api.exec("bash", "[ -e /proc/$$/fd/250 ] || echo none; compgen -v | grep -c __mr")["stdout"] == "none\n0\n"


def test_nothing_to_keep_is_no_state(shell):
    body = shell("echo 1; x=2")
    assert (body["stdout"], body["has_state"]) == ("1\n", False)


def test_values_with_everything_in_them(shell):
    shell("""
        export LINES_=$'a\\nb' QUOTES="'\\"\\`\\$(echo no)\\\\" BYTES=$'\\xff\\x01\\x7f' EMPTY= STAR='*' DASH=-n UNICODE='äöü €'
        export EVIL='"; echo pwned; "' SET
        declare -ix NUMBER=7; declare -ux UPPER=abc; declare -ax LIST=(a 'b c' [7]=$'d\\ne'); declare -Ax MAP=(['k y']=v)
        """)
    assert shell.prints("""
        printf '%q ' "$LINES_" "$QUOTES" "$BYTES" "$EMPTY" "$STAR" "$DASH" "$UNICODE" "$EVIL" "${SET-unset}"; echo .
        NUMBER=3+4; UPPER=xyz; echo "$NUMBER $UPPER ${LIST[1]} ${LIST[7]} ${!LIST[*]} ${MAP[k y]}"
        """) == textwrap.dedent(r"""
        $'a\nb' \'\"\`\$\(echo\ no\)\\ $'\377\001\177' '' \* -n äöü\ € \"\;\ echo\ pwned\;\ \" unset .
        7 XYZ b c d
        e 0 1 7 v
        """).strip()


def test_readonly_stays_readonly(shell):
    shell("declare -rx FIXED=1; f() { :; }; readonly -f f")
    body = shell("FIXED=2; echo $FIXED")
    assert "readonly" in body["stderr"] and body["exit_code"] == 1
    assert shell.prints("echo $FIXED; f() { echo other; } 2>/dev/null; f") == "1"


def test_functions_with_odd_names_and_bodies(shell):
    body = shell("""
        function if { echo IF; }
        git-log() { echo g; }
        a.b:c@d() { cat <<'END'
        a "here" $document
        END
        }
        recurse() { (($1 == 0)) && echo done || recurse $(($1 - 1)); }
        function a=b { :; }
        function -x { :; }
        export -f recurse
        """)
    assert set(named(body)) == {"a=b", "-x"} and "name" in named(body)["a=b"]
    assert shell.prints("\\if; git-log; a.b:c@d; bash -c 'recurse 3'").split("\n")[0:2] == ["IF", "g"]
    assert shell.prints("bash -c 'recurse 3'") == "done"


@pytest.mark.parametrize("code, status, kept", [
    ("exit 3", 3, True), ("f() { exit 4; }; f", 4, True), ("false", 1, True), ("kill -TERM $$; sleep 5", "SIGTERM", True),
    ("set -e; false; echo no", 1, False), ("set -u; echo $nope", 1, False), ("set -eu; exit 5", 5, True), ("return 6", 2, True),
    ("trap 'echo bye' EXIT; exit 7", 7, True), ("trap 'rc=$?; exit $rc' EXIT; exit 8", 8, True), ("trap 'export A=late' EXIT", 0, True),
    ("trap 'exit 9' TERM; kill -TERM $$; sleep 5", 9, True), ("echo a; if then", 2, True), ("kill -KILL $$", "SIGKILL", False),
    ("exec true", 0, False), ("sleep 30 & disown; exit 0", 0, True), ("exec 250>&- 251>&-", 0, False)])
def test_however_it_ends(shell, code, status, kept):
    shell("export A=before")
    body = shell("export A=after\n" + code)
    assert (body["signal"] or body["exit_code"]) == status, body
    assert shell.prints("echo $A") == ("late" if "late" in code else "after" if kept else "before")


def test_traps_of_the_program_work_as_ever(shell, api):
    code = textwrap.dedent("""
        trap 'echo "bye $?"' EXIT INT; trap -p EXIT; trap 'echo term' TERM; kill -TERM $$; (trap 'echo sub' EXIT)
        f() { trap 'echo returned; trap - RETURN' RETURN; echo in f; }; f; g() { :; }; g
        trap 'echo failed' ERR; false; trap - ERR; false; x=$(trap -p EXIT); echo "$x"; set -x; trap - TERM; exit 3
        """)
    plain = api.exec("bash", code)
    body = shell("export A=1" + code)
    assert (body["stdout"], body["exit_code"]) == (plain["stdout"], plain["exit_code"])
    assert shell.prints("echo $A") == "1"


def test_the_requests_own_variables_win_for_that_run(shell):
    shell("export A=state B=$B", env={"B": "request"})
    assert shell.prints("echo $A ${B-none}", env={"A": "request"}) == "request none"
    assert shell.prints("echo $A") == "state"
    assert shell.prints("echo $A; A=mine", env={"A": "request"}) == "request"
    assert shell.prints("echo $A") == "mine"


def test_a_folder_that_cannot_be_is_named(shell, api):
    shell("export A=1")
    blob = raw(("d", ".", "/proc/none"), ("v", "A", 'declare -x A="1"'))
    assert api.post(f"/state/{shell.id}", content=blob).status_code == 201
    body = shell("pwd; echo $A")
    assert body["stdout"] == "/mnt/data\n1\n" and "folder" in named(body)["/proc/none"]


def test_too_large_a_state_keeps_the_one_before(shell):
    shell("export A=before")
    body = shell("export A=after; printf -v BIG '%5000000s' x; export BIG; echo ended")
    assert (body["stdout"], body["exit_code"], body["state_version"]) == ("ended\n", 0, 1)
    assert "more than" in named(body)["*"]
    assert shell.prints("echo $A; for i in {1..20}; do printf -v V$i '%90000s' x; export V$i; done") == "before"
    assert shell.prints("echo ${#V1} ${#V20}") == "90000 90000"


# ---- states that are none, or mean harm


def test_state_of_another_language_is_left_alone(shell, api):
    python = api.exec("py", "x = 41")
    shell.id = python["session_id"]
    body = shell("export A=1; echo on")
    assert (body["stdout"], body["state_version"]) == ("on\n", 1) and "none of a Bash" in named(body)["*"]
    assert api.exec("py", "print(x + 1)", session_id=shell.id)["stdout"] == "42\n"
    other = Session(api, "bash", state=True)
    other("export A=1")
    body = api.exec("py", "print('on'); x = 1", session_id=other.id)
    assert body["stdout"] == "on\n" and body["state_version"] == 1 and body["state_warnings"][0]["name"] == "*"
    assert other.prints("echo $A") == "1"


@pytest.mark.parametrize("pieces, warned", [
    ([("v", "A", "declare -x A=(")], "A"),
    ([("v", "A", "if then fi")], "A"),
    ([("f", "f", "f () { echo")], "f"),
    ([("f", "a b", "a b () { :; }")], "a b"),
    ([("q", "thing", "x")], "thing"),
    ([("v", "UID", 'declare -x UID="0"')], "UID"),
])
def test_a_damaged_piece_leaves_the_others(shell, api, pieces, warned):
    shell.id = "Bash" + "b" * 17
    assert api.post(f"/state/{shell.id}", content=raw(*pieces, ("v", "GOOD", 'declare -x GOOD="1"'))).status_code == 201
    body = shell("echo $GOOD")
    assert (body["stdout"], body["exit_code"]) == ("1\n", 0)
    assert warned in named(body), body


@pytest.mark.parametrize("content", [b"\1MRB1\0v\0A\0", b"\1MRB1\0v\0A", b"\1MRB2\0", b"\1" + bytes(5000), b"\1\xff\xfe"])
def test_what_is_no_bash_state(shell, api, content):
    shell.id = "None" + "n" * 17
    assert api.post(f"/state/{shell.id}", content=content).status_code == 201
    body = shell("echo on; export A=1")
    assert (body["stdout"], body["exit_code"]) == ("on\n", 0) and "none of a Bash" in named(body)["*"]
    version = api.get(f"/state/{shell.id}/info").json()["version"]
    assert body["state_version"] == version


def test_what_a_state_runs_it_runs_as_the_program_only(shell, api, system):
    """A state is its owner's own code: it can harm the run of its owner, and nothing outside that pod."""
    shell.id = "Harm" + "h" * 17
    blob = raw(("v", "BASH_ENV", "declare -x BASH_ENV=/mnt/data/env.sh"), ("v", "PATH", "declare -x PATH=/mnt/data/bin:/usr/bin:/bin"),
               ("v", "X", "echo pwned; id -u; declare -x X=1"), ("v", "PROMPT_COMMAND", "declare -x PROMPT_COMMAND='echo no'"),
               ("f", "mapfile", "mapfile () { echo mine; }"), ("f", "cd", "cd () { echo mine; }"), ("v", "IFS", "declare -x IFS=abc"))
    assert api.post(f"/state/{shell.id}", content=blob).status_code == 201
    for _ in range(2):
        api.get(f"/state/{shell.id}")
    body = shell("unset -f cd; mkdir bin; printf '#!/bin/bash\\necho my ls\\n' > bin/ls; chmod +x bin/ls; echo 'echo from env' > env.sh; ls; bash -c 'echo child'")
    assert body["stdout"] == "pwned\n1000\nfrom env\nmy ls\nfrom env\nchild\n", body
    assert "pwned" not in system.log_of("worker") + system.log_of("api")
    assert shell.prints("echo $X \"$PATH\"; declare -F mapfile") == "1 /mnt/data/bin:/usr/bin:/bin\nmapfile"


def test_two_at_once_have_both_effects(shell):
    shell("export LOG=")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        bodies = list(pool.map(lambda n: shell(f"LOG+={n}"), range(4)))
    assert [b["exit_code"] for b in bodies] == [0] * 4
    assert sorted(shell.prints("echo $LOG")) == list("0123")


def test_a_bash_that_waited_has_it_and_keeps_it(shell):
    assert shell("export N=1")["state_version"] == 1
    body = wait_until("a run had one that waited", lambda: (one := shell("export N=$((N + 1)); echo $N; echo ${FUNCNAME-none} $0"))["warm"] and one)
    assert body["stdout"] == f"{body['state_version']}\nnone /mnt/data/main.sh\n" and body["stderr"] == ""
