// Golden scripts of the core on broken code.
import { execFile } from "node:child_process";
import path from "node:path";

const ROOT = path.join(import.meta.dirname, "../../..");

/** Whether the named script of control-plane/raft/testdata fails with this mutant. */
export const scriptFinds = (mutant: string, script: string): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const args = ["--import", "./test-cluster/sim/mutants/preload.ts", "node_modules/mocha/bin/mocha.js"];
    const tests = ["--reporter", "min", "--fgrep", `raft scripts ${script}.txt`, "control-plane/raft/scripts.test.ts"];
    const env = { ...process.env, SIM_MUTANT: mutant };
    execFile(process.execPath, [...args, ...tests], { cwd: ROOT, env }, (_error, stdout, stderr) => {
      const passing = / (\d+) passing/.exec(stdout)?.[1];
      const failing = / (\d+) failing/.exec(stdout)?.[1];
      if (passing === undefined) reject(new Error(`script ${script}: ${stdout}${stderr}`));
      else if (Number(passing) + Number(failing ?? 0) === 0) reject(new Error(`there is no script ${script}`));
      else resolve(Number(failing ?? 0) > 0);
    });
  });
