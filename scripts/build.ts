// Bundles tsctl, so that it starts fast: one CommonJS file whose parts are run when they are first needed, and a small
// entry that turns on V8's compile cache before it loads it. Bundles the processes of a node, so that they start faster
// and stay smaller: what strips types, and one module record for each file, is not in their memory then.
import { execFile } from "node:child_process";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { build } from "esbuild";
import { ControlDefinition } from "#proto/gen/control.ts";
import { InfoResponse, NodeLocalDefinition } from "#proto/gen/node.ts";
import { Node } from "#proto/gen/types.ts";
import { addService, type Handlers } from "#proto/rpc/server.ts";

const root = resolve(import.meta.dirname, "..");
const dist = join(root, "dist");
mkdirSync(dist, { recursive: true });

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: "node",
  target: "node24",
  // Identifiers keep their names: stacks stay readable.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  logLevel: "warning",
} as const;

await build({
  ...common,
  entryPoints: ["tsctl/main.ts"],
  // Written aside and renamed: somebody may be running the old one.
  outfile: "dist/tsctl-main.cjs.new",
  format: "cjs",
  // commander can start other programs as subcommands; loading what that needs costs 4 ms at every start.
  alias: { "node:child_process": "./scripts/no-child-process.cjs" },
});
renameSync(join(dist, "tsctl-main.cjs.new"), join(dist, "tsctl-main.cjs"));

writeFileSync(
  join(dist, "tsctl.cjs"),
  `const path = require("node:path");
require("node:module").enableCompileCache(path.join(__dirname, ".cache"));
require("./tsctl-main.cjs");
`,
);

// Each finds the others by the names that they have among the sources, which package.json maps to the bundles.
const PROCESSES = {
  agent: "node-agent/main.ts",
  manager: "control-plane/manager/main.ts",
  recovery: "control-plane/recovery/main.ts",
  networking: "net/exec/worker.ts",
  layers: "node-agent/images/layer-worker.ts",
};
rmSync(join(dist, "node.new"), { recursive: true, force: true });
await build({
  ...common,
  entryPoints: PROCESSES,
  outdir: "dist/node.new",
  outExtension: { ".js": ".mjs" },
  format: "esm",
  // Native, or loaded only when a certificate is made.
  external: ["koffi", "@peculiar/x509", "reflect-metadata"],
  banner: { js: 'import{createRequire}from"node:module";const require=createRequire(import.meta.url);' },
});
const imports = Object.fromEntries(Object.entries(PROCESSES).map(([name, path]) => [`#${path}`, `./${name}.mjs`]));
writeFileSync(join(dist, "node.new/package.json"), JSON.stringify({ imports }));
for (const old of ["node", ".agent-cache"]) rmSync(join(dist, old), { recursive: true, force: true });
renameSync(join(dist, "node.new"), join(dist, "node"));

// The cache keeps the functions that the first run compiled. So the first run is a list, answered by a server that knows
// one node; through bin/tsctl, because a cache is good only for the V8 flags that it was made with.
rmSync(join(dist, ".cache"), { recursive: true, force: true });
const socket = join(dist, "prime.sock");
const server = new Server();
const node = Node.fromPartial({ id: "0".repeat(25), spec: { role: 2, availability: 1 }, status: { state: 2 } });
addService(server, ControlDefinition, {
  listNodes: async () => ({ nodes: [{ node, reachability: "reachable", leader: true }] }),
} as unknown as Handlers<ControlDefinition>);
addService(server, NodeLocalDefinition, {
  info: async () => InfoResponse.fromPartial({ nodeId: node.id }),
} as unknown as Handlers<NodeLocalDefinition>);
rmSync(socket, { force: true });
await promisify(server.bindAsync.bind(server))(`unix:${socket}`, ServerCredentials.createInsecure());
try {
  await promisify(execFile)(join(root, "bin/tsctl"), ["--host", `unix:${socket}`, "node", "ls"]);
} finally {
  server.forceShutdown();
  rmSync(socket, { force: true });
}
