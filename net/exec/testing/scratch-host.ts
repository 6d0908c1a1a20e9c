// For tests: a host that is a network namespace of its own, with the folder where its agent would keep the other namespaces.
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { netnsPathOf } from "#net/exec/kernel.ts";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";

export type ScratchHost = {
  readonly netns: ScratchNetns;
  /** What `Kernel`, `Reconciler` and `HostNetworking` are made with. */
  readonly place: { readonly runDir: string; readonly hostNetns: string };
  /** The output of a program in one of the host's other namespaces: a container's "c-t1", an overlay's "o-4097". */
  inside(ns: string, ...command: readonly string[]): string;
  spawn(ns: string, ...command: readonly string[]): ChildProcessWithoutNullStreams;
  /** After the other namespaces were given back. */
  remove(): void;
};

export const scratchHost = (): ScratchHost => {
  const netns = scratchNetns();
  const runDir = mkdtempSync(join(tmpdir(), "tswarm-test-"));
  const entering = (ns: string, command: readonly string[]) => [`--net=${netnsPathOf(runDir, ns)}`, ...command];
  return {
    netns,
    place: { runDir, hostNetns: netns.path },
    inside: (ns, ...command) =>
      execFileSync("nsenter", entering(ns, command), { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }),
    spawn: (ns, ...command) => spawn("nsenter", entering(ns, command)),
    remove: () => {
      netns.remove();
      rmSync(runDir, { recursive: true, force: true });
    },
  };
};
