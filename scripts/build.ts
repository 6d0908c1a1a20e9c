// Bundles tsctl, so that it starts fast: one CommonJS file whose parts are run when they are first needed, and a small
// entry that turns on V8's compile cache before it loads it.
import { spawnSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "esbuild";

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
  keepNames: false,
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

// Through bin/tsctl, because a cache is good only for the V8 flags that it was made with.
// The cache keeps the functions that the first run compiled: a list, as far as it gets without a cluster.
rmSync(join(dist, ".cache"), { recursive: true, force: true });
spawnSync(join(root, "bin/tsctl"), ["--host", `unix:${join(dist, "no-such-socket")}`, "node", "ls"]);
