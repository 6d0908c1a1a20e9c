// The arrows of docs/architecture.md as a check: which folder may import which, and what pure rooms may not touch.
// Prints every violation with what to do instead; fails when it finds no files.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

/** Folder -> what it may import besides itself. The longest matching folder counts. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  base: [],
  "proto/gen": [],
  "proto/rpc": ["base", "proto/gen"],
  "net/model": ["base"],
  "net/ipam": ["base", "net/model"],
  "net/codec": ["base", "net/model"],
  "net/plan": ["base", "net/model"],
  "net/kernel": ["base", "net/model", "net/codec"],
  "net/exec": ["base", "net/model", "net/plan", "net/codec", "net/kernel"],
  "net/dns": ["base", "net/model", "net/kernel"],
  "control-plane/log": ["base"],
  "control-plane/raft": ["base"],
  "control-plane/raft-host": ["base", "proto", "control-plane/raft", "control-plane/log"],
  "control-plane/specs": ["base", "proto/gen", "net/model", "net/ipam"],
  "control-plane/stack": ["base", "proto/gen", "control-plane/specs"],
  "control-plane/state": ["base", "proto/gen"],
  "control-plane/allocator": [
    "base",
    "proto/gen",
    "net/model",
    "net/ipam",
    "control-plane/state",
    "control-plane/specs",
  ],
  "control-plane/scheduler": [
    "base",
    "proto/gen",
    "net/model",
    "control-plane/state",
    "control-plane/specs",
    "control-plane/orchestrator/task-life.ts",
  ],
  "control-plane": ["base", "proto", "net/model", "net/ipam", "control-plane"],
  "node-agent/task": ["base", "proto/gen"],
  "node-agent": ["base", "proto", "net", "node-agent"],
  tsctl: ["base", "proto", "control-plane/specs", "control-plane/stack", "control-plane/backup"],
  "test-cluster": ["base", "proto", "net", "control-plane", "node-agent", "tsctl", "test-cluster"],
  bench: ["base", "proto", "net", "control-plane", "node-agent", "tsctl", "test-cluster"],
  scripts: ["base", "proto", "tsctl"],
};

const PURE = [
  "base",
  "net/model",
  "net/ipam",
  "net/plan",
  "net/codec",
  "control-plane/raft",
  "control-plane/specs",
  "control-plane/stack",
  "control-plane/state",
  "control-plane/allocator",
  "control-plane/scheduler",
  "control-plane/orchestrator",
  "control-plane/operations",
  "control-plane/node-view",
  "node-agent/task",
];
const IMPURE_BELOW_PURE = ["base/node", "base/queue.ts"];

const BANS: readonly [RegExp, string][] = [
  [/from "node:/, "no node: module here: take what you need as data or an interface"],
  [/\bDate\.now\(|\bnew Date\(\)|performance\.now\(/, "no clock here: times come in as arguments (base/clock.ts)"],
  [/\bMath\.random\(|\brandomBytes\(/, "no randomness here: take a Random (base/random.ts)"],
  [/\bset(Timeout|Interval|Immediate)\(/, "no timer here: return when to be called again"],
  [/\bprocess\./, "no process here: configuration comes in as arguments"],
];

const within = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);

const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
  (f) =>
    f.endsWith(".ts") &&
    !/^(node_modules|dist|build|\.git)\//.test(f) &&
    Object.keys(ALLOWED).some((k) => within(f, k)),
);
if (files.length === 0) {
  console.error("check-arrows found no files: it is run from the wrong place");
  process.exit(1);
}

const violations: string[] = [];
for (const file of files) {
  const text = readFileSync(join(root, file), "utf8");
  const isTest = /\.test\.ts$|\/testing\//.test(file);
  const folder = Object.keys(ALLOWED)
    .filter((k) => within(file, k))
    .sort((a, b) => b.length - a.length)[0]!;
  for (const [, target] of text.matchAll(/(?:from|import\() ?"([^"]+)"/g)) {
    if (target === "koffi" && !within(file, "net/kernel") && !within(file, "node-agent/runtime"))
      violations.push(`${file}: imports koffi. System calls live in net/kernel and node-agent/runtime`);
    const path = target!.startsWith("#")
      ? target!.slice(1)
      : target!.startsWith(".")
        ? relative(root, resolve(root, file, "..", target!))
        : undefined;
    if (path === undefined || isTest || within(path, folder)) continue;
    if (!ALLOWED[folder]!.some((allowed) => within(path, allowed)))
      violations.push(`${file}: imports ${path}. ${folder} may import only ${ALLOWED[folder]!.join(", ") || "itself"}`);
  }
  if (isTest || !PURE.some((p) => within(file, p)) || IMPURE_BELOW_PURE.some((p) => within(file, p))) continue;
  const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
  for (const [pattern, instead] of BANS)
    if (pattern.test(code)) violations.push(`${file}: ${instead} (found ${pattern.exec(code)![0]})`);
}
for (const violation of violations) console.error(violation);
if (violations.length > 0) process.exit(1);
console.log(`arrows: ${files.length} files, no violation`);
