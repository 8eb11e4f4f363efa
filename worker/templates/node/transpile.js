// SPDX-License-Identifier: Apache-2.0
// TypeScript to JavaScript, one file at a time: node transpile.js SOURCE OUT, or as a module in a node that waits
// (launcher.js). Types are taken out and not checked; an error of syntax is told as tsc does, with the user's line, and ends
// with 1. The program is CommonJS, or a module where it awaits at its top level; OUT stays what the command line
// names, so a module is loaded by an import() in it.
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');
const Module = require('module');
const ts = require('/usr/share/nodejs/typescript');

function transpile(source, text, module) {
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

function sentences(diagnostics) {
  return ts.formatDiagnostics(diagnostics, {
    getCurrentDirectory: () => process.cwd(),
    getCanonicalFileName: (name) => name,
    getNewLine: () => '\n',
  });
}

function awaitsAtTop(code) {
  try {
    new vm.Script(Module.wrap(code));
    return false;
  } catch (e) {
    return /await is only valid|Unexpected reserved word|import\.meta|Cannot use 'import.meta'/.test(e.message);
  }
}

// What is to be told, and then there is no program; '' when all is well. `files`: [path, text].
exports.compile = function compile(source, text, out, files) {
  let made = transpile(source, text, ts.ModuleKind.CommonJS);
  const errors = made.diagnostics.filter((d) => d.category === ts.DiagnosticCategory.Error);
  if (errors.length > 0) return sentences(errors);
  if (awaitsAtTop(made.outputText)) {
    made = transpile(source, text, ts.ModuleKind.ESNext);
    const module = out.replace(/\.js$/, '.mjs');
    files.push([module, made.outputText]);
    made.outputText = `import(${JSON.stringify(module)});\n`;
  }
  files.push([out, made.outputText]);
  return '';
};

if (require.main === module) {
  const [source, out] = process.argv.slice(2), files = [];
  const told = exports.compile(source, fs.readFileSync(source, 'utf8'), out, files);
  process.stderr.write(told);
  for (const [name, text] of files) fs.writeFileSync(name, text);
  process.exitCode = told === '' ? 0 : 1;
}
