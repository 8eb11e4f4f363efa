// SPDX-License-Identifier: Apache-2.0
// TypeScript to JavaScript, one file at a time: node transpile.js SOURCE OUT. Types are taken out and not checked; an
// error of syntax is told as tsc does, with the user's line, and ends with 1. The program is CommonJS, or a module where it
// awaits at its top level; OUT stays what the command line names, so a module is loaded by an import() in it.
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');
const Module = require('module');
const ts = require('/usr/share/nodejs/typescript');

const [source, out] = process.argv.slice(2);
const text = fs.readFileSync(source, 'utf8');

function transpile(module) {
  return ts.transpileModule(text, {
    fileName: path.resolve(source),
    reportDiagnostics: true,
    compilerOptions: {
      module,
      target: ts.ScriptTarget.ES2022,
      esModuleInterop: true,
      experimentalDecorators: true,
      inlineSourceMap: true,
      inlineSources: true,
      newLine: ts.NewLineKind.LineFeed,
    },
  });
}

function tell(diagnostics) {
  process.stderr.write(ts.formatDiagnostics(diagnostics, {
    getCurrentDirectory: () => process.cwd(),
    getCanonicalFileName: (name) => name,
    getNewLine: () => '\n',
  }));
}

function awaitsAtTop(code) {
  try {
    new vm.Script(Module.wrap(code));
    return false;
  } catch (e) {
    return /await is only valid|Unexpected reserved word|import\.meta|Cannot use 'import.meta'/.test(e.message);
  }
}

let made = transpile(ts.ModuleKind.CommonJS);
const errors = made.diagnostics.filter((d) => d.category === ts.DiagnosticCategory.Error);
if (errors.length > 0) {
  tell(errors);
  process.exit(1);
}
if (awaitsAtTop(made.outputText)) {
  made = transpile(ts.ModuleKind.ESNext);
  const module = out.replace(/\.js$/, '.mjs');
  fs.writeFileSync(module, made.outputText);
  made.outputText = `import(${JSON.stringify(module)});\n`;
}
fs.writeFileSync(out, made.outputText);
