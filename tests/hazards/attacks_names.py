# SPDX-License-Identifier: Apache-2.0
"""More rows of the attack list: names and kinds of what a program leaves. Importing this adds them to attacks.ROWS."""
from attacks import MIB, attack, ended_before, given, refused, says


def as_told(name):
    """A name as podrun tells it: its bytes."""
    return (name.encode() if isinstance(name, str) else name).decode("latin-1")


def kept(*names):
    return lambda facts: given(facts) == {as_told(name): b"x" for name in names} and not refused(facts)


def left(*names):
    return f"for name in {names!r}:\n    open(name, 'w').write('x')\n"


attack("A9", "a socket among the outputs", lambda f: given(f) == {"good": b"x"} and refused(f) == {"out.sock": "special"},
       "s = socket.socket(socket.AF_UNIX); s.bind('out.sock'); s.listen()\n" + left("good"), collect=True)
attack("A12", "a file that is larger than its blocks", lambda f: given(f) == {"good": b"x"} and refused(f) == {"sparse": "too_large"},
       "open('sparse', 'w').truncate(11 << 20)\n" + left("good"), collect=True, fsize=64 * MIB)
attack("A13", "an empty file", lambda f: given(f) == {"empty": b""} and not refused(f), "open('empty', 'w').close()", collect=True)
attack("A14", "index.html", kept("index.html", "sub/index.html"), "os.mkdir('sub')\n" + left("index.html", "sub/index.html"), collect=True)
attack("A20", "a file that shrinks and grows until the end", lambda f: set(given(f)) == {"f"} and given(f)["f"] in (b"", b"x" * 1000), """
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    for fd in range(3): os.close(fd)
    with open("f", "wb", buffering=0) as f:
        for i in range(1 << 60):
            f.write(b"x" * 1000); f.seek(0); f.truncate()
            if i == 50: os.write(w, b".")
os.read(r, 1)
""", collect=True, count=10)
attack("A24", "names that look like options", kept("-rf", "--help", "-o"), left("-rf", "--help", "-o"), collect=True)
BYTES = (b"\xff\xfe", b"\xc0\xaf", b"cut\xe2\x82", "good")
attack("A26", "names that are no UTF-8", kept(*BYTES), left(*BYTES), collect=True)  # bytes for PID 1; the worker refuses them by name
SHOWN = ("txt\u202eexe", "zero\u200bwidth", "line\u2028end", "\U0001f600" * 60)
attack("A28", "names that read otherwise than they are", kept(*SHOWN), left(*SHOWN), collect=True)
ELSEWHERE = ("CON", "nul.txt", "dot.", "blank ", ".bashrc", "a:b", "%2e%2e")
attack("A29", "names that mean something elsewhere", kept(*ELSEWHERE), left(*ELSEWHERE), collect=True)

attack("A46", "a daemon that holds the output", ended_before(64 * MIB), """
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    x = b"x" * (64 << 20)
    os.write(w, b".")
    time.sleep(3600)
os.read(r, 1)
print("done")
""", off=("kill_all",), harm=lambda f: says("done")(f) and not ended_before(64 * MIB)(f))
