// SPDX-License-Identifier: Apache-2.0
// One version of @librechat/agents, used as LibreChat uses it. Reads commands and writes answers, a JSON line each:
//   {"id", "make": <name of the factory>, "params": {...}, "args": {...}, "call": {...}, "tools": [{name, ...}]}
//   {"id", "content", "artifact"} or {"id", "error"}
// `call` goes beside the model's arguments, where the graph puts sessions, files and tools. A tool of `tools` answers by
// `answer`: echo (its input), value, error, text (one MCP content block), none, or concurrency (most calls at a time).
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");
const { createRequire } = require("node:module");

const stdout = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr); // what the package prints is not an answer
const fromPackage = createRequire(path.join(process.argv[2], "package.json"));
// The tools' own modules: the package's front door loads every model provider as well, and those want more packages.
const folder = path.join(process.argv[2], "node_modules/@librechat/agents/dist/cjs/tools");
const modules = ["CodeExecutor", "BashExecutor", "ProgrammaticToolCalling", "BashProgrammaticToolCalling"];
const agents = Object.assign({}, ...modules.map((name) => path.join(folder, `${name}.cjs`)).filter(fs.existsSync).map(require));
const { tool } = fromPackage("@langchain/core/tools");

let open = 0, most = 0;
const ANSWERS = {
  echo: async (input) => input,
  value: async (_input, spec) => spec.value,
  text: async (_input, spec) => [{ type: "text", text: spec.value }],
  none: async () => undefined,
  error: async (_input, spec) => { throw new Error(spec.value); },
  concurrency: async (_input, spec) => {
    open += 1;
    most = Math.max(most, open);
    await new Promise((done) => setTimeout(done, spec.milliseconds ?? 50));
    open -= 1;
    return most;
  },
};

function callWith(command) {
  const specs = command.tools ?? [];
  const toolMap = new Map();
  for (const spec of specs) {
    const schema = spec.parameters ?? { type: "object", properties: {} };
    const made = tool((input) => ANSWERS[spec.answer](input, spec), { name: spec.name, description: spec.name, schema });
    // A host's tools answer in any shape; LangChain's wrapper would make a text of it.
    made.invoke = (input) => ANSWERS[spec.answer](input, spec);
    made.mcp = spec.answer === "text";
    toolMap.set(spec.name, made);
  }
  const toolDefs = specs.map(({ name, parameters }) => ({ name, description: name, parameters, allowed_callers: ["code_execution"] }));
  return specs.length === 0 ? {} : { toolMap, toolDefs };
}

async function answer(command) {
  most = 0;
  const made = agents[command.make](command.params ?? {});
  const call = { name: made.name, args: command.args, id: "call_1", type: "tool_call", ...callWith(command), ...command.call };
  const message = await made.invoke(call);
  return { id: command.id, content: message.content, artifact: message.artifact };
}

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const command = JSON.parse(line);
  const result = await answer(command).catch((error) => ({ id: command.id, error: String(error.message) }));
  stdout(JSON.stringify(result) + "\n");
});
stdout(JSON.stringify({ ready: Object.keys(agents).filter((name) => name.startsWith("create")) }) + "\n");
