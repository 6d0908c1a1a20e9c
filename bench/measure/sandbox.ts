// Where the processes of a bench live: a network namespace of their own, in which every port is free, and a folder that goes
// with them.
import type { ChildProcess } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const MARK = "TSWARM_BENCH_NAMESPACE";

/** Goes on in a new network namespace: this process begins anew there, once. Needs root. */
export const enterOwnNamespace = (): void => {
  if (process.env[MARK] !== undefined) return;
  const inside = ["sh", "-c", `ip link set lo up && exec "$@"`, "sh", process.execPath, ...process.argv.slice(1)];
  process.execve!("/usr/bin/unshare", ["unshare", "--net", ...inside], { ...process.env, [MARK]: "1" });
};

export type Sandbox = { readonly dir: string; readonly children: ChildProcess[] };

/** Runs `bench`, kills what it put into `children` and removes the folder, whatever happens. Ends this process. */
export const inSandbox = async (bench: (sandbox: Sandbox) => Promise<void>): Promise<never> => {
  const sandbox: Sandbox = { dir: fs.mkdtempSync(path.join(os.tmpdir(), "tswarm-bench-")), children: [] };
  const clear = (): void => {
    for (const child of sandbox.children) child.kill("SIGKILL");
    fs.rmSync(sandbox.dir, { recursive: true, force: true, maxRetries: 5 });
  };
  const stop = (): void => {
    clear();
    process.exit(1);
  };
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    await bench(sandbox);
  } finally {
    clear();
  }
  process.exit(0);
};
