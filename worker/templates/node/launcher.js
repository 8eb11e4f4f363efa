// SPDX-License-Identifier: Apache-2.0
// A warm node: started in its pod ahead of demand, locked down by the runner, with the go socket as descriptor 3
// (worker/templates/template_proto.h) and this file as descriptor 5. It waits in a blocking read, then becomes
// `node PATH ARGS...`: the source is run by the same entry that node itself uses, in a tick of its own, so that no frame of ours is
// below it. Started as: node --preserve-symlinks-main /proc/self/fd/5. The source goes into
// the current folder. With the argument `ts` the program is TypeScript, and the transpiler waits too.
'use strict';
const fs = require('fs');
const Module = require('module');
const os = require('os');
const path = require('path');
const util = require('util');
const vm = require('vm');

const GO = 3, SELF = 5, MAGIC = 0x4d525450, GO_MAX = 16 << 20, COULD_NOT_START = 125, COMPILE_FAILED = -1;
const TAGS = { env: 2, name: 3, source: 4, args: 13, last: 13 };

let ready = false;

function tell(error, text = '') {
  const message = Buffer.alloc(128);
  message.writeUInt32LE(MAGIC, 0);
  message.writeInt32LE(process.pid, 4);
  message.writeInt32LE(error, 8);
  message.write(text, 12, 115);
  fs.writeSync(GO, message);
}

// Undefined at the end of file.
function read(length) {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length;) {
    const n = fs.readSync(GO, bytes, at, length - at, null);
    if (n === 0) return undefined;
    at += n;
  }
  return bytes;
}

function parse(bytes) {
  const spec = { env: [], args: [], name: 'main.js', source: Buffer.alloc(0) };
  for (let at = 0; at < bytes.length;) {
    const tag = bytes.readUInt16LE(at), length = bytes.readUInt32LE(at + 4);
    if (tag === 0 || tag > TAGS.last || length > bytes.length - at - 8) throw new Error('the run specification is not understood');
    const value = bytes.subarray(at + 8, at + 8 + length);
    if (tag === TAGS.env) spec.env.push(value.toString());
    else if (tag === TAGS.args) spec.args.push(value.toString());
    else if (tag === TAGS.name) spec.name = value.toString();
    else if (tag === TAGS.source) spec.source = value;
    at += 8 + length;
  }
  return spec;
}

function wait() {
  const head = read(8);
  if (head === undefined) process.exit(0);
  if (head.readUInt32LE(0) !== MAGIC || head.readUInt32LE(4) > GO_MAX) throw new Error('the run specification is too long or not one');
  const bytes = read(head.readUInt32LE(4));
  if (bytes === undefined) process.exit(0);
  return parse(bytes);
}

function setEnvironment(env) {
  for (const name of Object.keys(process.env)) delete process.env[name];
  for (const variable of env) {
    const equals = variable.indexOf('=');
    process.env[variable.slice(0, equals)] = variable.slice(equals + 1);
  }
}

// What the first program would find uncompiled. Nothing here touches descriptors 0 to 2: node makes them non-blocking.
function warmUp() {
  for (const name of ['net', 'stream', 'path', 'os', 'events', 'buffer', 'assert', 'crypto', 'child_process', 'readline', 'timers'])
    require(name);
  util.format('%s %d', util.inspect({ a: [1, new Map([[1, 2]])] }), 1);
  const sink = new (require('stream').Writable)({ write(chunk, encoding, done) { done(); } });
  new console.Console(sink).log('%s', 1, { a: 1 });
  const file = path.join(os.tmpdir(), `.warm-${process.pid}.js`);
  fs.writeFileSync(file, 'exports.x = 1');
  require(file);
  delete require.cache[file];
  module.children.length = 0;
  fs.unlinkSync(file);
}

// From 20.19 and 22.7 on node looks at the source for `import`; before, only at the name.
function nameFor(spec) {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const looks = major > 22 || (major === 22 && minor >= 7) || (major === 20 && minor >= 19);
  const source = looks || !spec.name.endsWith('.js') ? '' : spec.source.toString();
  if (!/^\s*(import|export)\b|\bawait\b/m.test(source)) return spec.name;
  try {
    new vm.Script(Module.wrap(source));
  } catch (e) {
    if (/import statement outside a module|Unexpected token 'export'|await is only valid in async/.test(e.message))
      return spec.name.replace(/\.js$/, '.mjs');
  }
  return spec.name;
}

// Run often enough to be compiled itself.
function warmTranspiler() {
  const compile = require('/etc/millrace/transpile.js').compile;
  const sample = `import * as fs from 'fs';
enum E { A, B = 'b' }
interface I<T> { a?: T; f(x: number): Promise<T | null> }
abstract class C<T extends object = {}> implements I<T> {
  constructor(private readonly a: T, public b = [1, 2, ...[3]]) {}
  async f(x: number): Promise<T | null> { for (const y of this.b) if (y > x) return await Promise.resolve(this.a); return null; }
  static get s(): string { return \`\${E.A} \${this.name ?? 'x'}\`; }
}
type M = { [K in keyof C]: C[K] } & Record<string, unknown>;
function g(this: void, { a = 1, ...rest }: { a?: number }, ...z: string[]): asserts a is number { try { console.log(a!, rest as any, z); } catch (e) { throw e; } }
export default <T,>(x: T): T => x satisfies unknown as T;
`.replace(' satisfies unknown', '');
  for (let i = 0; i < 12; i++) compile('warm.ts', sample, '.warm.js', []);
  return compile;
}

// An error of the program's text is the end of its compile step, and then nothing of it runs.
function transpiled(compile, spec) {
  const folder = process.cwd(), files = [];
  fs.writeFileSync(`${folder}/${spec.name}`, spec.source, { mode: 0o600, flag: 'wx' });
  const out = `${folder}/.${spec.name.replace(/\.ts$/, '.js')}`;
  const told = compile(spec.name, spec.source.toString(), out, files);
  if (told !== '') {
    tell(COMPILE_FAILED);
    fs.closeSync(GO);
    fs.writeSync(2, told);
    process.exit(1);
  }
  for (const [name, text] of files) fs.writeFileSync(name, text, { mode: 0o600, flag: 'wx' });
  process.setSourceMapsEnabled(true);
  return out;
}

function written(spec) {
  const file = `${process.cwd()}/${nameFor(spec)}`;
  fs.writeFileSync(file, spec.source, { mode: 0o600, flag: 'wx' });
  return file;
}

function main() {
  warmUp();
  const compile = process.argv[2] === 'ts' ? warmTranspiler() : undefined;
  tell(0);
  ready = true;
  const spec = wait();
  const file = compile ? transpiled(compile, spec) : written(spec);
  fs.closeSync(GO);
  fs.closeSync(SELF);
  setEnvironment(spec.env);
  Module._initPaths(); // NODE_PATH
  process.argv = [process.execPath, file, ...spec.args];
  process.execArgv = compile ? ['--enable-source-maps'] : [];
  delete require.cache[module.filename];
  process.nextTick(Module.runMain, file);
}

try {
  main();
} catch (e) {
  if (!ready) tell(os.constants.errno.EINVAL, e.message);
  fs.writeSync(2, `could not start: ${e.message}\n`);
  process.exit(COULD_NOT_START);
}
