# SPDX-License-Identifier: Apache-2.0
"""Programs that are honest, by the thousand: the sections of good/*.corpus with numbers and words of their own, one to a program, or
(Python) several. The same seed gives the same programs. `python good_programs.py LANGUAGE [SEED]` prints one."""
import dataclasses
import os
import pathlib
import random
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent / "good"
SEED = int(os.environ.get("MILLRACE_SEED", 154))
# Those that run in a process of their own.
COMMANDS = {"py": ["/usr/bin/python3", "main.py"], "js": ["/usr/bin/node", "main.js"], "bash": ["/bin/bash", "main.sh"]}
# How many of a hundred; the compilers are slow, and every language comes at least once a section.
WEIGHTS = {"py": 64, "js": 10, "bash": 10, "c": 3, "ts": 2, "php": 2, "cpp": 2, "go": 2, "java": 2, "r": 1, "f90": 1, "rs": 1, "d": 1}
WORDS = "mill race wheel stone grain flour sluice water gear axle sack river".split()
# What a section needs that a host may not have; then it is not among the programs, and the floors show it.
IMPORTS = {
    "py": r"^\s*(?:from\s+(\w+)[\w.]*\s+import|import\s+([\w., ]+))", "js": r"require\('([\w/]+)'\)|from '([\w/]+)'",
    "ts": r"from '([\w/]+)'", "c": r"#include <([\w/.]+)>", "cpp": r"#include <([\w/.]+)>", "java": r"import ([\w.]+?)(?:\.\*)?;",
    "go": r'"([a-z/]+[0-9]*)"[;)]', "rs": r"std::\{?(\w+)", "d": r"(std\.\w+)", "r": r"library\((\w+)\)", "php": r"new (\w+)\(", "f90": r"use (\w+)",
    "bash": r"(?:^|[;|(&] ?|\$\()(tar|gzip|bzip2|xz|sort|awk|sed|grep|find|xargs|date|stat|python3|jq|timeout|base64|split|join|diff|mkfifo)\b",
}


@dataclasses.dataclass(frozen=True)
class Program:
    lang: str
    sections: tuple
    code: str


def sections(lang):
    parts = re.split(r"^=== (.+)\n", (HERE / f"{lang}.corpus").read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def filled(text, chance):
    return text.replace("@N@", str(chance.randint(3, 40))).replace("@S@", chance.choice(WORDS))


def python(names, corpus, chance):
    """Functions, called one after the other; the whole is guarded, for what it starts may import it again."""
    text = ""
    for i, name in enumerate(names):
        body = filled(corpus[name], chance)
        top = re.findall(r"^def child\(.*\n", body, re.M)
        for one in top:  # what another process has to find by its name
            body = body.replace(one, "")
        text += "".join(top) + f"def part_{i}():\n" + "".join(f"    {line}\n" for line in body.splitlines())
    return text + "if __name__ == '__main__':\n" + "".join(f"    part_{i}()\n" for i in range(len(names))) + "    print('good')\n"


def program(lang, names, chance):
    corpus = sections(lang)
    if lang == "py":
        return Program(lang, tuple(names), python(names, corpus, chance))
    return Program(lang, (names[0],), filled(corpus[names[0]], chance))


def generate(count, seed, languages=WEIGHTS):
    """Every section of every language once, then by chance; all different."""
    chance, made, seen = random.Random(seed), [], set()
    queue = [(lang, [name]) for lang in languages for name in sections(lang)]
    while len(made) < count:
        if queue:
            lang, names = queue.pop(0)
        else:
            lang = chance.choices(list(languages), [WEIGHTS[lang] for lang in languages])[0]
            names = chance.sample(sorted(sections(lang)), chance.randint(1, 3) if lang == "py" else 1)
        one = program(lang, names, chance)
        if one.code not in seen:
            seen.add(one.code)
            made.append(one)
    return made


def imports(program):
    found = set()
    for match in re.finditer(IMPORTS[program.lang], program.code, re.M):
        for group in filter(None, match.groups()):
            found |= {f"{program.lang}: {word.strip().split(' as ')[0].strip()}" for word in group.split(",")}
    return found


if __name__ == "__main__":
    chance = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    names = sorted(sections(sys.argv[1]))
    print(program(sys.argv[1], chance.sample(names, 1), chance).code)
