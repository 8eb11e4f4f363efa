# SPDX-License-Identifier: Apache-2.0
"""The programs of test_1_languages.py: for each language one of each row, and what it should be able to use.

args, stdin and env print what they were given (the arguments joined by |); stderr writes "to out" and "to err"; signal dies of
the signal `dies_of`; broken has its error in line 3; forever says "begun" and starts a child that outlives it; ten_mb writes the same 16
bytes 655,360 times; file writes /mnt/data/out.txt and prints what it reads from there."""

# How long each language's grandchild sleeps: to be told apart among the host's processes.
SLEEP = {lang: f"98{n:02}1" for n, lang in enumerate("py js bash ts go java c cpp php rs r f90 d".split())}

LANGUAGES = {
    "py": {
        "compiled": False, "dies_of": "SIGSEGV", "points_at": r'File ".*main\.py", line 3',
        "hello": "print('hello')",
        "args": "import sys; print('|'.join(sys.argv[1:]))",
        "stdin": "import sys; sys.stdout.write(sys.stdin.read())",
        "env": "import os; print(os.environ['GREETING'])",
        "stderr": "import sys; print('to out'); print('to err', file=sys.stderr)",
        "exit7": "import sys; sys.exit(7)",
        "signal": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "broken": "x = 1\ny = 2\ndef (:\n",
        "forever": f"import subprocess\nsubprocess.Popen(['sleep', '{SLEEP['py']}'])\nprint('begun', flush=True)\nwhile True: pass",
        "ten_mb": "print('0123456789abcde\\n' * 655360, end='')",
        "file": "open('/mnt/data/out.txt', 'w').write('kept\\n'); print(open('out.txt').read(), end='')",
    },
    "js": {
        "compiled": False, "dies_of": "SIGSEGV", "points_at": r"main\.js:3",
        "hello": "console.log('hello')",
        "args": "console.log(process.argv.slice(2).join('|'))",
        "stdin": "process.stdout.write(require('fs').readFileSync(0))",
        "env": "console.log(process.env.GREETING)",
        "stderr": "console.log('to out'); console.error('to err')",
        "exit7": "process.exit(7)",
        "signal": "process.kill(process.pid, 'SIGSEGV'); setInterval(() => {}, 1000)",
        "broken": "let x = 1;\nlet y = 2;\nlet = = 3;\n",
        "forever": f"require('child_process').spawn('sleep', ['{SLEEP['js']}'], {{ stdio: 'inherit' }});\n"
                   "require('fs').writeSync(1, 'begun\\n');\nwhile (true) ;",
        "ten_mb": "process.stdout.write('0123456789abcde\\n'.repeat(655360))",
        "file": "const fs = require('fs'); fs.writeFileSync('/mnt/data/out.txt', 'kept\\n');\n"
                "process.stdout.write(fs.readFileSync('out.txt'))",
    },
    "bash": {
        "compiled": False, "dies_of": "SIGSEGV", "points_at": r"main\.sh: line 3",
        "hello": "echo hello",
        "args": "IFS='|'; echo \"$*\"",
        "stdin": "cat",
        "env": "echo \"$GREETING\"",
        "stderr": "echo to out; echo to err >&2",
        "exit7": "exit 7",
        "signal": "kill -SEGV $$",
        "broken": "true\ntrue\n(true))\n",
        "forever": f"sleep {SLEEP['bash']} &\necho begun\nwhile :; do :; done",
        "ten_mb": "yes 0123456789abcde | head -n 655360",
        "file": "echo kept > /mnt/data/out.txt; cat out.txt",
    },
    "ts": {
        "compiled": True, "dies_of": "SIGTERM", "points_at": r"main\.ts\(3,|main\.ts:3:",
        "hello": "const text: string = 'hello';\nconsole.log(text);",
        "args": "const given: string[] = process.argv.slice(2);\nconsole.log(given.join('|'));",
        "stdin": "import * as fs from 'fs';\nprocess.stdout.write(fs.readFileSync(0));",
        "env": "console.log(process.env.GREETING as string);",
        "stderr": "console.log('to out'); console.error('to err');",
        "exit7": "process.exit(7);",
        "signal": "process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000);",
        "broken": "let x: number = 1;\nlet y: number = 2;\nlet z: = = 3;\n",
        "forever": "import { spawn } from 'child_process';\nimport fs from 'fs';\n"
                   f"spawn('sleep', ['{SLEEP['ts']}'], {{ stdio: 'inherit' }});\nfs.writeSync(1, 'begun\\n');\nwhile (true) ;",
        "ten_mb": "process.stdout.write('0123456789abcde\\n'.repeat(655360));",
        "file": "import * as fs from 'fs';\nfs.writeFileSync('/mnt/data/out.txt', 'kept\\n');\n"
                "process.stdout.write(fs.readFileSync('out.txt'));",
    },
    "go": {
        "compiled": True, "dies_of": "SIGKILL", "points_at": r"main\.go:3:",
        "hello": 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello") }',
        "args": 'package main\n\nimport (\n\t"fmt"\n\t"os"\n\t"strings"\n)\n\nfunc main() { fmt.Println(strings.Join(os.Args[1:], "|")) }',
        "stdin": 'package main\n\nimport (\n\t"io"\n\t"os"\n)\n\nfunc main() { io.Copy(os.Stdout, os.Stdin) }',
        "env": 'package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n\nfunc main() { fmt.Println(os.Getenv("GREETING")) }',
        "stderr": 'package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n\nfunc main() { fmt.Println("to out"); fmt.Fprintln(os.Stderr, "to err") }',
        "exit7": 'package main\n\nimport "os"\n\nfunc main() { os.Exit(7) }',
        "signal": 'package main\n\nimport "syscall"\n\nfunc main() { syscall.Kill(syscall.Getpid(), syscall.SIGKILL); select {} }',
        "broken": 'package main\n\nfunc main() { var x int = "text"; undefined_name(x) }\n',
        "forever": 'package main\n\nimport (\n\t"fmt"\n\t"os"\n\t"os/exec"\n)\n\nfunc main() {\n'
                   f'\tc := exec.Command("sleep", "{SLEEP["go"]}")\n\tc.Stdout = os.Stdout\n\tc.Start()\n\tfmt.Println("begun")\n\tfor {{\n\t}}\n}}',
        "ten_mb": 'package main\n\nimport (\n\t"os"\n\t"strings"\n)\n\nfunc main() { os.Stdout.WriteString(strings.Repeat("0123456789abcde\\n", 655360)) }',
        "file": 'package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n\nfunc main() {\n\tos.WriteFile("/mnt/data/out.txt", []byte("kept\\n"), 0o600)\n'
                '\tb, _ := os.ReadFile("out.txt")\n\tfmt.Print(string(b))\n}',
    },
    "java": {
        "compiled": True, "dies_of": "SIGKILL", "points_at": r"Main\.java:3: error",
        "hello": 'public class Main { public static void main(String[] args) { System.out.println("hello"); } }',
        "args": 'public class Main { public static void main(String[] args) { System.out.println(String.join("|", args)); } }',
        "stdin": "public class Main { public static void main(String[] args) throws Exception { System.in.transferTo(System.out); System.out.flush(); } }",
        "env": 'public class Main { public static void main(String[] args) { System.out.println(System.getenv("GREETING")); } }',
        "stderr": 'public class Main { public static void main(String[] args) { System.out.println("to out"); System.err.println("to err"); } }',
        "exit7": "public class Main { public static void main(String[] args) { System.exit(7); } }",
        "signal": "public class Main { public static void main(String[] args) throws Exception {\n"
                  '  new ProcessBuilder("sh", "-c", "kill -9 $PPID").start(); Thread.sleep(60000); } }',
        "broken": "public class Main {\n  public static void main(String[] args) {\n    int x = \"text\";\n  }\n}\n",
        "forever": "public class Main { public static void main(String[] args) throws Exception {\n"
                   f'  new ProcessBuilder("sleep", "{SLEEP["java"]}").inheritIO().start(); System.out.println("begun"); while (true); }} }}',
        "ten_mb": "import java.io.*;\npublic class Main { public static void main(String[] args) throws Exception {\n"
                  '  System.out.write("0123456789abcde\\n".repeat(655360).getBytes()); System.out.flush(); } }',
        "file": "import java.nio.file.*;\npublic class Main { public static void main(String[] args) throws Exception {\n"
                '  Files.writeString(Path.of("/mnt/data/out.txt"), "kept\\n"); System.out.print(Files.readString(Path.of("out.txt"))); } }',
    },
    "c": {
        "compiled": True, "dies_of": "SIGSEGV", "points_at": r"main\.c:3:",
        "hello": '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }',
        "args": '#include <stdio.h>\nint main(int n, char **v) { for (int i = 1; i < n; i++) printf("%s%s", i > 1 ? "|" : "", v[i]); puts(""); }',
        "stdin": "#include <stdio.h>\nint main(void) { int c; while ((c = getchar()) != EOF) putchar(c); }",
        "env": '#include <stdio.h>\n#include <stdlib.h>\nint main(void) { puts(getenv("GREETING")); }',
        "stderr": '#include <stdio.h>\nint main(void) { puts("to out"); fputs("to err\\n", stderr); }',
        "exit7": "int main(void) { return 7; }",
        "signal": "#include <signal.h>\nint main(void) { raise(SIGSEGV); }",
        "broken": "#include <stdio.h>\nint main(void) {\n  int x = ;\n}\n",
        "forever": "#include <stdio.h>\n#include <unistd.h>\nint main(void) {\n"
                   f'  if (fork() == 0) execlp("sleep", "sleep", "{SLEEP["c"]}", (char *)0);\n  puts("begun"); fflush(stdout); for (;;) ;\n}}',
        "ten_mb": '#include <stdio.h>\nint main(void) { for (int i = 0; i < 655360; i++) puts("0123456789abcde"); }',
        "file": '#include <stdio.h>\nint main(void) { FILE *f = fopen("/mnt/data/out.txt", "w"); fputs("kept\\n", f); fclose(f);\n'
                '  char t[9]; f = fopen("out.txt", "r"); fputs(fgets(t, 9, f), stdout); }',
    },
    "cpp": {
        "compiled": True, "dies_of": "SIGABRT", "points_at": r"main\.cpp:3:",
        "hello": '#include <iostream>\nint main() { std::cout << "hello\\n"; }',
        "args": '#include <iostream>\nint main(int n, char **v) { for (int i = 1; i < n; i++) std::cout << (i > 1 ? "|" : "") << v[i]; std::cout << "\\n"; }',
        "stdin": "#include <iostream>\nint main() { std::cout << std::cin.rdbuf(); }",
        "env": '#include <cstdlib>\n#include <iostream>\nint main() { std::cout << std::getenv("GREETING") << std::endl; }',
        "stderr": '#include <iostream>\nint main() { std::cout << "to out\\n"; std::cerr << "to err\\n"; }',
        "exit7": "int main() { return 7; }",
        "signal": "#include <cstdlib>\nint main() { std::abort(); }",
        "broken": "#include <string>\nint main() {\n  std::string x = 5 +;\n}\n",
        "forever": "#include <cstdlib>\n#include <iostream>\nint main() {\n"
                   f'  std::system("sleep {SLEEP["cpp"]} &"); std::cout << "begun" << std::endl; for (volatile int i = 0;;) i = i + 1;\n}}',
        "ten_mb": '#include <iostream>\nint main() { for (int i = 0; i < 655360; i++) std::cout << "0123456789abcde\\n"; }',
        "file": '#include <fstream>\n#include <iostream>\nint main() { { std::ofstream("/mnt/data/out.txt") << "kept\\n"; } std::cout << std::ifstream("out.txt").rdbuf(); }',
    },
    "php": {
        "compiled": False, "dies_of": "SIGKILL", "points_at": r"main\.php.* on line 3",
        "hello": "<?php echo \"hello\\n\";",
        "args": "<?php echo implode('|', array_slice($argv, 1)), \"\\n\";",
        "stdin": "<?php echo file_get_contents('php://stdin');",
        "env": "<?php echo getenv('GREETING'), \"\\n\";",
        "stderr": "<?php echo \"to out\\n\"; fwrite(STDERR, \"to err\\n\");",
        "exit7": "<?php exit(7);",
        "signal": "<?php posix_kill(getmypid(), 9); sleep(60);",
        "broken": "<?php\n$x = 1;\n$y = = 2;\n",
        "forever": f"<?php\nexec('sleep {SLEEP['php']} > /dev/null &');\necho \"begun\\n\";\nwhile (true) ;",
        "ten_mb": "<?php echo str_repeat(\"0123456789abcde\\n\", 655360);",
        "file": "<?php file_put_contents('/mnt/data/out.txt', \"kept\\n\"); readfile('out.txt');",
    },
    "rs": {
        "compiled": True, "dies_of": "SIGABRT", "points_at": r"main\.rs:3:",
        "hello": 'fn main() { println!("hello"); }',
        "args": 'fn main() { println!("{}", std::env::args().skip(1).collect::<Vec<_>>().join("|")); }',
        "stdin": "fn main() { std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap(); }",
        "env": 'fn main() { println!("{}", std::env::var("GREETING").unwrap()); }',
        "stderr": 'fn main() { println!("to out"); eprintln!("to err"); }',
        "exit7": "fn main() { std::process::exit(7); }",
        "signal": "fn main() { std::process::abort(); }",
        "broken": 'fn main() {\n    let _y = 1;\n    let _x: i32 = "text";\n}\n',
        "forever": "use std::io::Write;\nfn main() {\n"
                   f'    std::process::Command::new("sleep").arg("{SLEEP["rs"]}").spawn().unwrap();\n'
                   '    println!("begun");\n    std::io::stdout().flush().unwrap();\n    loop { std::hint::spin_loop(); }\n}',
        "ten_mb": 'fn main() { print!("{}", "0123456789abcde\\n".repeat(655360)); }',
        "file": 'fn main() { std::fs::write("/mnt/data/out.txt", "kept\\n").unwrap(); print!("{}", std::fs::read_to_string("out.txt").unwrap()); }',
    },
    "r": {
        "compiled": False, "dies_of": "SIGKILL", "points_at": r"main\.r:3:6: ",
        "hello": "cat('hello\\n')",
        "args": "cat(paste(commandArgs(trailingOnly = TRUE), collapse = '|'), '\\n', sep = '')",
        "stdin": "cat(readLines(file('stdin')), sep = '\\n'); cat('')",
        "env": "cat(Sys.getenv('GREETING'), '\\n', sep = '')",
        "stderr": "cat('to out\\n'); message('to err')",
        "exit7": "quit(status = 7)",
        "signal": "tools::pskill(Sys.getpid(), 9); Sys.sleep(60)",
        "broken": "x <- 1\ny <- 2\nz <- = 3\n",
        "forever": f"system('sleep {SLEEP['r']}', wait = FALSE)\ncat('begun\\n')\nrepeat {{}}",
        "ten_mb": "cat(strrep('0123456789abcde\\n', 655360))",
        "file": "writeLines('kept', '/mnt/data/out.txt'); cat(readLines('out.txt'), '\\n', sep = '')",
    },
    "f90": {
        "compiled": True, "dies_of": "SIGABRT", "points_at": r"main\.f90:3:",
        "hello": "program t\n  write(*,'(a)') 'hello'\nend program",
        "args": "program t\n  character(99) :: a\n  integer :: i\n  do i = 1, command_argument_count()\n    call get_command_argument(i, a)\n"
                "    if (i > 1) write(*,'(a)',advance='no') '|'\n    write(*,'(a)',advance='no') trim(a)\n  end do\n  write(*,'(a)') ''\nend program",
        "stdin": "program t\n  character(99) :: a\n  integer :: e\n  do\n    read(*,'(a)',iostat=e) a\n    if (e /= 0) exit\n    write(*,'(a)') trim(a)\n  end do\nend program",
        "env": "program t\n  character(99) :: a\n  call get_environment_variable('GREETING', a)\n  write(*,'(a)') trim(a)\nend program",
        "stderr": "program t\n  use iso_fortran_env\n  write(output_unit,'(a)') 'to out'\n  write(error_unit,'(a)') 'to err'\nend program",
        "exit7": "program t\n  call exit(7)\nend program",
        "signal": "program t\n  call abort\nend program",
        "broken": "program t\n  integer :: x\n  x = = 3\nend program\n",
        "forever": f"program t\n  call execute_command_line('sleep {SLEEP['f90']}', wait=.false.)\n  write(*,'(a)') 'begun'\n  flush(6)\n  do\n  end do\nend program",
        "ten_mb": "program t\n  integer :: i\n  do i = 1, 655360\n    write(*,'(a)') '0123456789abcde'\n  end do\nend program",
        "file": "program t\n  character(9) :: a\n  open(10, file='/mnt/data/out.txt')\n  write(10,'(a)') 'kept'\n  close(10)\n"
                "  open(10, file='out.txt')\n  read(10,'(a)') a\n  write(*,'(a)') trim(a)\nend program",
    },
    "d": {
        "compiled": True, "dies_of": "SIGABRT", "points_at": r"main\.d\(3",
        "hello": 'import std.stdio;\nvoid main() { writeln("hello"); }',
        "args": 'import std.stdio, std.array;\nvoid main(string[] args) { writeln(args[1 .. $].join("|")); }',
        "stdin": "import std.stdio;\nvoid main() { foreach (chunk; stdin.byChunk(4096)) stdout.rawWrite(chunk); }",
        "env": 'import std.stdio, std.process;\nvoid main() { writeln(environment["GREETING"]); }',
        "stderr": 'import std.stdio;\nvoid main() { writeln("to out"); stderr.writeln("to err"); }',
        "exit7": "int main() { return 7; }",
        "signal": "import core.stdc.stdlib;\nvoid main() { abort(); }",
        "broken": 'import std.stdio;\nvoid main() {\n  int x = "text";\n}\n',
        "forever": f'import std.stdio, std.process;\nvoid main() {{\n  spawnProcess(["sleep", "{SLEEP["d"]}"]);\n  writeln("begun"); stdout.flush();\n  while (true) {{}}\n}}',
        "ten_mb": 'import std.stdio;\nvoid main() { foreach (i; 0 .. 655360) writeln("0123456789abcde"); }',
        "file": 'import std.stdio, std.file;\nvoid main() { std.file.write("/mnt/data/out.txt", "kept\\n"); std.stdio.write(readText("out.txt")); }',
    },
}

FINE_PY = "\nprint('fine')"
# Programs that print "fine" when what they use works.
LIBRARIES = {
    "py": {
        "numbers": "import numpy as np, pandas as pd, scipy.optimize, scipy.stats\n"
                   "assert np.linalg.det(np.eye(5)) == 1\n"
                   "t = pd.DataFrame({'k': list('aabb'), 'v': range(4)}); assert t.groupby('k').v.sum().tolist() == [1, 5]\n"
                   "t.to_csv('t.csv'); assert len(pd.read_csv('t.csv')) == 4\n"
                   "assert abs(scipy.optimize.brentq(lambda x: x * x - 2, 0, 2) - 2 ** .5) < 1e-9\n"
                   "assert scipy.stats.norm.cdf(0) == .5" + FINE_PY,
        "learning": "from sklearn.linear_model import LinearRegression\nfrom sklearn.ensemble import RandomForestClassifier\n"
                    "import numpy as np\nX = np.arange(20).reshape(-1, 1); m = LinearRegression().fit(X, 3 * X[:, 0] + 1)\n"
                    "assert abs(m.coef_[0] - 3) < 1e-9\nassert RandomForestClassifier(5).fit(X, X[:, 0] > 9).score(X, X[:, 0] > 9) > .9\n"
                    "import statsmodels.api as sm; assert abs(sm.OLS(np.array([1., 2, 3]), np.array([1., 2, 3])).fit().params[0] - 1) < 1e-9" + FINE_PY,
        "pictures": "import matplotlib.pyplot as plt\nfrom PIL import Image\nplt.plot([1, 2]); plt.title('ü'); plt.savefig('/mnt/data/p.png')\n"
                    "im = Image.open('p.png'); assert im.size == (640, 480)\nim.convert('RGB').resize((10, 10)).save('q.jpg')\n"
                    "import seaborn, plotly.graph_objects as go\nassert 'scatter' in go.Figure(go.Scatter(y=[1])).to_json()" + FINE_PY,
        "documents": "import openpyxl, xlsxwriter, docx, pypdf, reportlab.pdfgen.canvas, bs4, lxml.etree, yaml, tabulate\n"
                     "w = openpyxl.Workbook(); w.active['A1'] = 5; w.save('w.xlsx'); assert openpyxl.load_workbook('w.xlsx').active['A1'].value == 5\n"
                     "c = reportlab.pdfgen.canvas.Canvas('c.pdf'); c.drawString(9, 9, 'text'); c.save(); assert 'text' in pypdf.PdfReader('c.pdf').pages[0].extract_text()\n"
                     "d = docx.Document(); d.add_paragraph('x'); d.save('d.docx')\n"
                     "assert bs4.BeautifulSoup('<p>a</p>', 'lxml').p.text == 'a' and yaml.safe_load('[1]') == [1]\n"
                     "import sympy; assert str(sympy.diff(sympy.Symbol('x')**2)) == '2*x'\nimport networkx; assert networkx.path_graph(3).size() == 2" + FINE_PY,
        "standard": "import sqlite3, threading, multiprocessing, subprocess, tempfile, ssl, ctypes, zoneinfo, decimal, asyncio, http.client\n"
                    "d = sqlite3.connect('x.db'); d.execute('create table t(a)'); d.execute('insert into t values (1)'); d.commit()\n"
                    "assert subprocess.check_output(['echo', 'x']) == b'x\\n'\n"
                    "with multiprocessing.Pool(2) as p: assert p.map(abs, [-1, -2]) == [1, 2]\n"
                    "assert zoneinfo.ZoneInfo('Europe/Paris')" + FINE_PY,
        "images": "import numpy as np, numexpr, imageio, qrcode, skimage.filters, skimage.io\n"
                  "assert numexpr.evaluate('a * 2', {'a': np.arange(3)}).tolist() == [0, 2, 4]\n"
                  "imageio.imwrite('i.png', np.full((4, 4), 7, np.uint8)); assert skimage.io.imread('i.png').tolist() == [[7] * 4] * 4\n"
                  "assert skimage.filters.gaussian(np.ones((9, 9))).shape == (9, 9)\n"
                  "qrcode.make('text').save('q.png'); assert imageio.imread('q.png').shape[0] > 99" + FINE_PY,
        "pages": "import io, struct, PyPDF2, markdown, jinja2, pdfminer.high_level, reportlab.pdfgen.canvas, rich.console, xlrd\n"
                 "c = reportlab.pdfgen.canvas.Canvas('c.pdf'); c.drawString(9, 9, 'text'); c.save()\n"
                 "assert 'text' in PyPDF2.PdfReader('c.pdf').pages[0].extract_text() and 'text' in pdfminer.high_level.extract_text('c.pdf')\n"
                 "assert markdown.markdown('*a*') == '<p><em>a</em></p>' and jinja2.Template('{{ a }}').render(a=5) == '5'\n"
                 "t = io.StringIO(); rich.console.Console(file=t).print('[bold]a[/bold]'); assert t.getvalue() == 'a\\n'\n"
                 "x = struct.pack('<HHHH', 9, 4, 2, 16) + struct.pack('<HHHH3sd', 3, 15, 0, 0, bytes(3), 2.5) + struct.pack('<HH', 10, 0)\n"
                 "assert xlrd.open_workbook(file_contents=x).sheet_by_index(0).cell_value(0, 0) == 2.5" + FINE_PY,
        "data": "import cloudpickle, dateutil.parser, lz4.frame, pendulum, pydantic, pytz, requests\n"
                "from cryptography.fernet import Fernet\n"
                "f = Fernet(Fernet.generate_key()); assert f.decrypt(f.encrypt(b'x')) == b'x' and lz4.frame.decompress(lz4.frame.compress(b'x')) == b'x'\n"
                "assert cloudpickle.loads(cloudpickle.dumps(lambda x: x + 1))(1) == 2\n"
                "assert pendulum.datetime(2020, 1, 31).add(months=1).day == 29 == dateutil.parser.parse('29 Feb 2020').day\n"
                "assert pytz.timezone('Europe/Paris').zone == 'Europe/Paris'\n"
                "class P(pydantic.BaseModel): a: int\n"
                "assert P(a='5').a == 5 and requests.Request('GET', 'http://a', params={'b': 1}).prepare().url == 'http://a/?b=1'" + FINE_PY,
    },
    "js": {
        "packages": "const _ = require('lodash'), yaml = require('js-yaml'), cheerio = require('cheerio'), moment = require('moment');\n"
                    "if (_.sum([1, 2]) === 3 && yaml.load('[1]')[0] === 1 && cheerio.load('<p>a</p>')('p').text() === 'a' && moment('2020-01-02').month() === 0)\n"
                    "  console.log('fine');",
        "more": "const axios = require('axios'), async = require('async'), { v4, validate } = require('uuid');\n"
                "if (axios.getUri({ url: 'http://a', params: { b: 1 } }) === 'http://a?b=1' && validate(v4()))\n"
                "  async.map([1, 2], (x, done) => done(null, x + 1), (error, all) => { if (!error && all[1] === 3) console.log('fine'); });",
        "modules": "import _ from 'lodash';\nimport axios from 'axios';\nimport async from 'async';\nimport moment from 'moment';\n"
                   "import { v4, validate } from 'uuid';\nimport yaml from 'js-yaml';\n"
                   "const two = await new Promise((done) => async.map([1], (x, next) => next(null, x + 1), (error, all) => done(all)));\n"
                   "if (_.sum([1, 2]) === 3 && axios.getUri({ url: 'http://a', params: { b: 1 } }) === 'http://a?b=1' && two[0] === 2\n"
                   "    && moment('2020-01-02').month() === 0 && validate(v4()) && yaml.load('[1]')[0] === 1) console.log('fine');",
        "standard": "const zlib = require('zlib'), crypto = require('crypto'), { execSync } = require('child_process'), { Worker } = require('worker_threads');\n"
                    "const same = zlib.gunzipSync(zlib.gzipSync('x')).toString() === 'x' && crypto.createHash('sha256').update('').digest('hex').startsWith('e3b0');\n"
                    "new Worker('require(\"worker_threads\").parentPort.postMessage(4)', { eval: true }).on('message', (m) => {\n"
                    "  if (same && m === 4 && execSync('echo x').toString() === 'x\\n') console.log('fine');\n});",
    },
    "ts": {
        "modules": "import _ from 'lodash';\nimport yaml from 'js-yaml';\nconst sum: number = await Promise.resolve(_.sum(yaml.load('[1, 2]') as number[]));\n"
                   "if (sum === 3) console.log('fine');",
        "packages": "import _ from 'lodash';\nimport * as crypto from 'crypto';\nenum Kind { A, B }\nclass Box<T> { constructor(private readonly v: T) {} get(): T { return this.v } }\n"
                    "const box = new Box<number>(_.sum([1, Kind.B]));\nif (box.get() === 2 && crypto.randomUUID().length === 36) console.log('fine');",
        "more": "import axios from 'axios';\nimport async from 'async';\nimport * as cheerio from 'cheerio';\nimport moment from 'moment';\n"
                "import { v4, validate } from 'uuid';\nimport yaml from 'js-yaml';\n"
                "const url: string = axios.getUri({ url: 'http://a', params: { b: 1 } });\n"
                "if (url === 'http://a?b=1' && validate(v4()) && cheerio.load('<p>a</p>')('p').text() === 'a' && moment('2020-01-02').month() === 0 && yaml.load('[1]')[0] === 1)\n"
                "  async.map([1, 2], (x: number, done: any) => done(null, x + 1), (error: any, all: any) => { if (!error && all[1] === 3) console.log('fine'); });",
    },
    "bash": {
        "tools": "set -e\n[ $(echo '{\"a\":[1,2]}' | jq '.a[1]') = 2 ]\n[ $(python3 -c 'print(6*7)') = 42 ]\n[ $(echo 'scale=2; 1/4' | bc) = .25 ]\n"
                 "seq 3 | awk '{s+=$1} END {exit s != 6}'\necho abc | sed s/b/x/ | grep -q axc\nprintf 'b\\na\\n' | sort | head -1 | grep -q a\n"
                 "mkdir d; touch d/f; find d -type f | xargs ls -l > list; tar czf d.tgz d; tar tzf d.tgz | grep -q d/f; zip -qr d.zip d; unzip -lq d.zip | grep -q f\n"
                 "date -u -d @0 +%Y | grep -q 1970; diff <(echo a) <(echo a); a=(1 2 3); [ ${#a[@]} = 3 ]; file d.zip | grep -qi zip; xxd -v >/dev/null 2>&1 || od -c list > /dev/null\n"
                 "perl -e 'exit 0'; gcc --version > /dev/null; echo fine",
        "more tools": "set -e\n[ \"$(gawk 'BEGIN { print strftime(\"%Y\", 0, 1) }')\" = 1970 ]\n"
                      "for pack in gzip bzip2 xz; do [ \"$(echo abc | $pack | $pack -d)\" = abc ]; done\n"
                      "echo abc > a; zip -q a.zip a; [ \"$(unzip -p a.zip a)\" = abc ]; [ \"$(less a)\" = abc ]\n"
                      "o() { printf '%010d 00000 n \\n' $(grep -abo \"^$1 0 obj\" a.pdf | cut -d: -f1); }\n"
                      "text='BT /F 12 Tf 9 9 Td (text) Tj ET'\n"
                      "printf '%%PDF-1.4\\n1 0 obj\\n<</Type/Catalog/Pages 2 0 R>>\\nendobj\\n2 0 obj\\n<</Type/Pages/Count 1/Kids[3 0 R]>>\\nendobj\\n' > a.pdf\n"
                      "printf '3 0 obj\\n<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>\\nendobj\\n' >> a.pdf\n"
                      "printf '4 0 obj\\n<</Length %d>>\\nstream\\n%s\\nendstream\\nendobj\\n' ${#text} \"$text\" >> a.pdf\n"
                      "at=$(stat -c %s a.pdf); { printf 'xref\\n0 5\\n0000000000 65535 f \\n'; for i in 1 2 3 4; do o $i; done; } > xref; cat xref >> a.pdf\n"
                      "printf 'trailer\\n<</Size 5/Root 1 0 R>>\\nstartxref\\n%d\\n%%%%EOF\\n' $at >> a.pdf\n"
                      "pdftotext a.pdf - | grep -qx text\necho fine",
    },
    "go": {
        "standard": 'package main\n\nimport (\n\t"bytes"\n\t"compress/gzip"\n\t"crypto/sha256"\n\t"encoding/json"\n\t"fmt"\n\t"math/big"\n\t"net/http/httptest"\n\t"net/url"\n'
                    '\t"regexp"\n\t"sort"\n\t"sync"\n\t"text/template"\n\t"time"\n)\n\nfunc main() {\n\tvar m map[string]int\n\tjson.Unmarshal([]byte(`{"a":1}`), &m)\n'
                    '\tvar b bytes.Buffer\n\tz := gzip.NewWriter(&b)\n\tz.Write([]byte("x"))\n\tz.Close()\n\tvar g sync.WaitGroup\n\tc := make(chan int, 2)\n'
                    '\tfor i := 0; i < 2; i++ {\n\t\tg.Add(1)\n\t\tgo func(i int) { defer g.Done(); c <- i }(i)\n\t}\n\tg.Wait()\n\tx := []int{2, 1}\n\tsort.Ints(x)\n'
                    '\tu, _ := url.Parse("http://a/b")\n\tn := new(big.Int).Exp(big.NewInt(2), big.NewInt(70), nil)\n\tt := template.Must(template.New("t").Parse("{{.}}"))\n\tvar w bytes.Buffer\n\tt.Execute(&w, 5)\n'
                    '\tif m["a"] == 1 && b.Len() > 0 && len(c) == 2 && x[0] == 1 && u.Path == "/b" && n.BitLen() == 71 && w.String() == "5" && regexp.MustCompile("a+").MatchString("aa") &&\n'
                    '\t\tsha256.Sum256(nil)[0] == 0xe3 && httptest.NewRecorder().Code == 200 && time.Unix(0, 0).UTC().Year() == 1970 {\n\t\tfmt.Println("fine")\n\t}\n}',
    },
    "java": {
        "libraries": "import com.fasterxml.jackson.databind.ObjectMapper;\nimport org.apache.commons.lang3.StringUtils;\nimport org.apache.commons.math3.stat.StatUtils;\n"
                     "import java.util.*;\nimport java.util.concurrent.*;\nimport java.util.stream.*;\npublic class Main {\n  record P(int a, String b) {}\n"
                     "  public static void main(String[] args) throws Exception {\n    var pool = Executors.newFixedThreadPool(3);\n    int sum = pool.submit(() -> IntStream.range(0, 5).sum()).get();\n    pool.shutdown();\n"
                     '    var m = new ObjectMapper().readValue("{\\"a\\":[1,2]}", Map.class);\n'
                     '    if (sum == 10 && m.get("a").equals(List.of(1, 2)) && StringUtils.reverse("ab").equals("ba") && StatUtils.mean(new double[]{1, 3}) == 2\n'
                     '        && new P(1, "x").toString().equals("P[a=1, b=x]")) System.out.println("fine");\n  }\n}',
        "commons": "import java.io.*;\nimport org.apache.commons.collections4.bag.HashBag;\nimport org.apache.commons.compress.compressors.gzip.*;\n"
                   "import org.apache.commons.csv.CSVFormat;\nimport org.apache.commons.text.WordUtils;\npublic class Main {\n  public static void main(String[] args) throws Exception {\n"
                   '    var bag = new HashBag<String>(); bag.add("a", 3);\n    var row = CSVFormat.DEFAULT.parse(new StringReader("x,\\"y,z\\"")).getRecords().get(0);\n'
                   '    var packed = new ByteArrayOutputStream();\n    try (var out = new GzipCompressorOutputStream(packed)) { out.write("abc".getBytes()); }\n'
                   '    var text = new String(new GzipCompressorInputStream(new ByteArrayInputStream(packed.toByteArray())).readAllBytes());\n'
                   '    if (bag.getCount("a") == 3 && row.get(1).equals("y,z") && text.equals("abc") && WordUtils.capitalize("a b").equals("A B")) System.out.println("fine");\n  }\n}',
    },
    "c": {
        "headers": "#include <ctype.h>\n#include <errno.h>\n#include <limits.h>\n#include <math.h>\n#include <pthread.h>\n#include <stdbool.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
                   "#include <string.h>\n#include <sys/stat.h>\n#include <time.h>\n#include <unistd.h>\n#include <complex.h>\n#include <regex.h>\n"
                   "static void *f(void *a) { *(double *)a = sqrt(*(double *)a); return NULL; }\n"
                   "int main(int n, char **v) { double x = 15.0 + n; pthread_t t; pthread_create(&t, NULL, f, &x); pthread_join(t, NULL);\n"
                   '  (void)v; if (x == 4.0 && pow(2, n + 9) == 1024 && strlen("ab") == 2 && cabs(3.0 + 4.0 * I) == 5) puts("fine"); }',
        "zlib": "#include <stdio.h>\n#include <string.h>\n#include <zlib.h>\nint main(void) { unsigned char a[999] = \"text\", b[999], c[999]; uLongf n = sizeof(b), m = sizeof(c);\n"
                '  if (compress(b, &n, a, sizeof(a)) == Z_OK && n < 99 && uncompress(c, &m, b, n) == Z_OK && m == sizeof(a) && !memcmp(a, c, m)\n'
                '      && crc32(0, (const Bytef *)"123456789", 9) == 0xCBF43926) puts("fine"); }',
    },
    "cpp": {
        "headers": "#include <bits/stdc++.h>\nint main() {\n  std::vector<int> v{3, 1, 2}; std::ranges::sort(v);\n  std::jthread t([&] { v[0]++; }); t.join();\n"
                   '  std::map<std::string, int> k{{"x", 1}}; std::optional<double> r = std::sqrt(4.0);\n'
                   '  if (v[0] == 2 && k.at("x") == 1 && *r == 2) std::cout << "fine\\n";\n}',
        "json": "#include <iostream>\n#include <nlohmann/json.hpp>\nint main() { if (nlohmann::json::parse(\"[1, 2]\")[1] == 2) std::cout << \"fine\\n\"; }",
        "eigen": "#include <iostream>\n#include <Eigen/Core>\nint main() { Eigen::Matrix2d m; m << 1, 2, 3, 4; if (m.trace() == 5) std::cout << \"fine\\n\"; }",
        "zlib": "#include <iostream>\n#include <string>\n#include <vector>\n#include <zlib.h>\nint main() {\n  std::string a(999, 'a'), c(999, 'b'); std::vector<Bytef> b(999); uLongf n = b.size(), m = c.size();\n"
                '  if (compress(b.data(), &n, (const Bytef *)a.data(), a.size()) == Z_OK && n < 99 && uncompress((Bytef *)c.data(), &m, b.data(), n) == Z_OK && a == c\n'
                '      && crc32(0, (const Bytef *)"123456789", 9) == 0xCBF43926) std::cout << "fine\\n";\n}',
    },
    "php": {
        "extensions": "<?php\n$d = new PDO('sqlite::memory:'); $d->exec('create table t(a)'); $d->exec('insert into t values (4)');\n"
                      "$g = imagecreatetruecolor(4, 4); imagepng($g, '/mnt/data/g.png');\n$x = new SimpleXMLElement('<a><b>1</b></a>');\n"
                      "if ($d->query('select a from t')->fetchColumn() == 4 && filesize('g.png') > 20 && (string)$x->b === '1' && mb_strtoupper('ü') === 'Ü'\n"
                      "    && json_decode('[1]')[0] === 1 && bcadd('1', '2') === '3' && preg_match('/a+/', 'aa') && class_exists('ZipArchive') && function_exists('curl_init')) echo \"fine\\n\";",
        "more": "<?php\n$z = new ZipArchive; $z->open('a.zip', ZipArchive::CREATE); $z->addFromString('a', 'abc'); $z->close(); $z->open('a.zip');\n"
                "$c = curl_init('http://a/b'); $l = new Collator('de_DE'); $w = ['z', 'ä', 'a']; $l->sort($w);\n"
                "if ($z->getFromName('a') === 'abc' && curl_getinfo($c, CURLINFO_EFFECTIVE_URL) === 'http://a/b' && $w === ['a', 'ä', 'z']) echo \"fine\\n\";",
    },
    "rs": {
        "standard": "use std::collections::{BTreeMap, HashMap};\nuse std::sync::{mpsc, Arc, Mutex};\nuse std::thread;\n#[derive(Debug, Clone, PartialEq)]\nstruct P { x: i64 }\n"
                    "fn main() {\n    let (tx, rx) = mpsc::channel();\n    let total = Arc::new(Mutex::new(0));\n"
                    "    for i in 0..3 { let (tx, total) = (tx.clone(), total.clone()); thread::spawn(move || { *total.lock().unwrap() += i; tx.send(i).unwrap(); }); }\n"
                    "    drop(tx);\n    let mut got: Vec<i32> = rx.iter().collect();\n    got.sort();\n    let mut m = HashMap::new();\n    m.insert(\"a\", P { x: 1 });\n"
                    "    let b: BTreeMap<_, _> = [(2, 'b'), (1, 'a')].into_iter().collect();\n"
                    "    if got == [0, 1, 2] && *total.lock().unwrap() == 3 && format!(\"{:?}\", m[\"a\"]) == \"P { x: 1 }\" && b.values().next() == Some(&'a') { println!(\"fine\"); }\n}",
    },
    "r": {
        "packages": "suppressMessages({library(dplyr); library(tidyr); library(ggplot2); library(data.table); library(MASS); library(lubridate)})\n"
                    "t <- data.frame(k = c('a', 'a', 'b'), v = 1:3) %>% group_by(k) %>% summarise(s = sum(v)); stopifnot(t$s == c(3, 3))\n"
                    "stopifnot(jsonlite::fromJSON('[1,2]')[2] == 2, stringr::str_to_upper('a') == 'A', year(ymd('2020-02-03')) == 2020)\n"
                    "pdf('/mnt/data/p.pdf'); print(ggplot(data.frame(x = 1:3, y = 1:3), aes(x, y)) + geom_point()); invisible(dev.off()); stopifnot(file.size('p.pdf') > 1000)\n"
                    "m <- lm(y ~ x, data.frame(x = 1:9, y = 2 * (1:9))); stopifnot(abs(coef(m)[2] - 2) < 1e-9)\ncat('fine\\n')",
        "more": "suppressMessages({library(magrittr); library(readr); library(readxl); library(xml2); library(glue); library(tidyr)})\n"
                "write_csv(data.frame(a = 1:2, b = c('x', 'y')), 't.csv'); t <- read_csv('t.csv', show_col_types = FALSE); stopifnot(t$b == c('x', 'y'), sum(t$a) == 3)\n"
                "stopifnot(nrow(read_excel(readxl_example('datasets.xlsx'))) > 9, xml_text(xml_find_first(read_xml('<a><b>c</b></a>'), 'b')) == 'c')\n"
                "stopifnot(glue('a{1 + 1}') == 'a2', (c(1, 4) %>% sqrt %>% sum) == 3, nrow(pivot_longer(data.frame(a = 1, b = 2), everything())) == 2)\ncat('fine\\n')",
    },
    "f90": {
        "intrinsics": "module m\n  use iso_fortran_env, only: real64\ncontains\n  pure function f(x) result(y)\n    real(real64), intent(in) :: x(:)\n    real(real64) :: y\n    y = sqrt(sum(x**2))\n  end function\nend module\n"
                      "program t\n  use m\n  real(real64) :: a(2,2)\n  a = reshape([1d0, 0d0, 0d0, 1d0], [2, 2])\n  if (f([3d0, 4d0]) == 5d0 .and. all(matmul(a, a) == a) .and. gamma(5d0) == 24d0) print '(a)', 'fine'\nend program",
    },
    "d": {
        "standard": "import std.stdio, std.json, std.algorithm, std.range, std.parallelism, std.regex, std.datetime, std.conv, std.string;\nvoid main() {\n"
                    "  auto j = parseJSON(`{\"a\": [1, 2]}`);\n  int[] v = [3, 1, 2]; v.sort();\n  auto s = taskPool.reduce!\"a + b\"(iota(1, 101));\n"
                    "  if (j[\"a\"][1].integer == 2 && v == [1, 2, 3] && s == 5050 && matchFirst(\"aa\", regex(\"a+\")) && \"7\".to!int == 7 && SysTime(unixTimeToStdTime(0), UTC()).year == 1970) writeln(\"fine\");\n}",
    },
}
