// For tests: namespaces that `ip -n NAME` sees too, so that iproute2 and nft can be independent observers.
// Exports: scratchNetns(): { path, name, ip(...), bridge(...), nft(...), exec(...), remove() }.
import { execFileSync } from "node:child_process";
import { createNetns, deleteNetns } from "./netns.ts";

export type ScratchNetns = {
  readonly path: string;
  readonly name: string;
  /** Output of `ip -j -d …` parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: the shape is iproute2's
  ip(...args: string[]): any[];
  // biome-ignore lint/suspicious/noExplicitAny: the shape is iproute2's
  bridge(...args: string[]): any[];
  exec(program: string, ...args: string[]): string;
  remove(): void;
};

let count = 0;

export const scratchNetns = (): ScratchNetns => {
  const name = `tswt-${process.pid}-${++count}`;
  const path = `/run/netns/${name}`;
  createNetns(path);
  const json = (program: string, args: string[]) =>
    JSON.parse(execFileSync(program, ["-n", name, "-j", "-d", ...args], { encoding: "utf8" }) || "[]");
  return {
    path,
    name,
    ip: (...args) => json("ip", args),
    bridge: (...args) => json("bridge", args),
    exec: (program, ...args) => execFileSync("ip", ["netns", "exec", name, program, ...args], { encoding: "utf8" }),
    remove: () => deleteNetns(path),
  };
};
