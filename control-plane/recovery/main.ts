// Started by the agent while its manager does not run: recovers the manager's log, or makes one from a backup. Writes one
// line of JSON to standard output: { "done": … } or { "failed": … }.
import { rmSync } from "node:fs";
import { TswarmError } from "#base/errors.ts";
import { newId } from "#base/ids.ts";
import { loadIdentity, saveIdentity } from "#base/node/identity-files.ts";
import { jsonLogger, realClock, systemRandom } from "#base/node/system.ts";
import { openMemberKeys } from "#control-plane/manager/member-keys.ts";
import { recoverLog } from "#control-plane/recovery/recover.ts";
import { restoreBackup } from "#control-plane/recovery/restore.ts";

/** What the agent asks for, as JSON on standard input: it may hold keys, which are not for the list of processes. */
type Request = {
  readonly dataDir: string;
  readonly identityDir: string;
  /** host:port of this node's manager */
  readonly advertise: string;
  /** Of a locked cluster; else empty. */
  readonly unlockKey: string;
} & (
  | { readonly kind: "recover" }
  | { readonly kind: "restore"; readonly backup: string; readonly hostname: string; readonly addr: string }
);

const logger = jsonLogger((line) => void process.stderr.write(line), "info").with({ process: "recovery" });
const context = { now: realClock.now(), newId: () => newId(systemRandom) };

const run = async (request: Request): Promise<unknown> => {
  const { dataDir, identityDir, advertise, unlockKey } = request;
  if (request.kind === "restore") {
    const nodeId = context.newId();
    const { backup, hostname, addr } = request;
    const { identity, contents } = await restoreBackup({
      ...{ backup, unlockKey, dataDir, nodeId, hostname, addr, advertise, context, logger },
      // A locked cluster's manager wraps them with the unlock key when it runs.
      keysOf: (dir, own) => openMemberKeys(dir, own),
    });
    // It has served, and holds keys.
    rmSync(backup);
    // Last: from here on the node is a member.
    saveIdentity(identityDir, identity);
    return { nodeId, ...contents };
  }
  const identity = loadIdentity(identityDir, unlockKey);
  if (identity === undefined) throw new TswarmError("invalid", "this node is not part of a cluster");
  const { clusterId, nodeId } = identity;
  const keysOf = (dir: string) => openMemberKeys(dir, identity, unlockKey);
  return recoverLog({ dataDir, clusterId, nodeId, advertise, keysOf, context, logger });
};

const input = async (): Promise<Request> => {
  let text = "";
  for await (const piece of process.stdin) text += piece;
  return JSON.parse(text);
};

input()
  .then(run)
  .then(
    (done) => process.stdout.write(`${JSON.stringify({ done })}\n`),
    (thrown) => {
      const { code, message, issues } = TswarmError.from(thrown);
      logger.error("not recovered", { error: thrown });
      process.stdout.write(`${JSON.stringify({ failed: { code, message, issues } })}\n`);
      process.exitCode = 1;
    },
  );
