// Bundles tsctl, so that it starts fast: one CommonJS file whose parts are run when they are first needed, and a small
// entry that turns on V8's compile cache before it loads it.
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

await build({
  absWorkingDir: root,
  entryPoints: ["tsctl/main.ts"],
  // Written aside and renamed: somebody may be running the old one.
  outfile: "dist/tsctl-main.cjs.new",
  bundle: true,
  platform: "node",
  target: "node24",
  format: "cjs",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  logLevel: "warning",
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
