// Generates proto/gen from proto/v1 with protoc and ts-proto. `--check` generates into a temporary folder and fails
// when what is committed differs.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const source = join(root, "proto/v1");
const target = join(root, "proto/gen");
const check = process.argv.includes("--check");
const out = mkdtempSync(join(tmpdir(), "tswarm-proto-"));

const options = [
  "esModuleInterop=true",
  "importSuffix=.ts",
  "env=node",
  "forceLong=number",
  "enumsAsLiterals=true",
  "oneof=unions-value",
  "outputServices=generic-definitions",
  "outputJsonMethods=false",
  "outputPartialMethods=true",
  "unrecognizedEnum=false",
  "removeEnumPrefix=false",
  "useExactTypes=false",
  "useOptionals=none",
  "initializeFieldsAsUndefined=false",
];
const files = readdirSync(source).filter((f) => f.endsWith(".proto"));
execFileSync(
  "protoc",
  [
    `--plugin=protoc-gen-ts_proto=${join(root, "node_modules/.bin/protoc-gen-ts_proto")}`,
    `--ts_proto_out=${out}`,
    `--ts_proto_opt=${options.join(",")}`,
    `-I${source}`,
    ...files.map((f) => join(source, f)),
  ],
  { stdio: "inherit", env: { ...process.env, PATH: `${join(root, "node_modules/.bin")}:${process.env.PATH}` } },
);

if (check) {
  const names = new Set([...readdirSync(out), ...readdirSync(target)]);
  const read = (dir: string, f: string) => {
    try {
      return readFileSync(join(dir, f), "utf8").replace(/^\/\/ +protoc.*$/gm, "");
    } catch {
      return "";
    }
  };
  const drift = [...names].filter((f) => read(out, f) !== read(target, f));
  rmSync(out, { recursive: true });
  if (drift.length > 0) {
    console.error(`proto/gen is not what proto/v1 generates: ${drift.join(", ")}. Run: node scripts/proto.ts`);
    process.exit(1);
  }
} else {
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  cpSync(out, target, { recursive: true });
  rmSync(out, { recursive: true });
}
