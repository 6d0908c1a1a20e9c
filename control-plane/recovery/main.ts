// Started by the agent while its manager does not run: recovers the manager's log, or makes one from a backup. Writes one
// line of JSON to standard output: { "done": … } or { "failed": … }.

import { TswarmError } from "#base/errors.ts";
import { newId } from "#base/ids.ts";
import { loadIdentity } from "#base/node/identity-files.ts";
import { jsonLogger, realClock, systemRandom } from "#base/node/system.ts";
import { openMemberKeys } from "#control-plane/manager/member-keys.ts";
import { recoverLog } from "#control-plane/recovery/recover.ts";

/** What the agent asks for, as JSON on standard input: it may hold keys, which are not for the list of processes. */
export type RecoveryRequest = {
  readonly kind: "recover";
  readonly dataDir: string;
  readonly identityDir: string;
  readonly advertise: string;
};

const logger = jsonLogger((line) => void process.stderr.write(line), "info").with({ process: "recovery" });
const context = { now: realClock.now(), newId: () => newId(systemRandom) };

const run = async (): Promise<unknown> => {
  let text = "";
  for await (const piece of process.stdin) text += piece;
  const request: RecoveryRequest = JSON.parse(text);
  const { dataDir, advertise } = request;
  const identity = loadIdentity(request.identityDir);
  if (identity === undefined) throw new TswarmError("invalid", "this node is not part of a cluster");
  const { clusterId, nodeId } = identity;
  const keysOf = (dir: string) => openMemberKeys(dir, identity);
  return recoverLog({ dataDir, clusterId, nodeId, advertise, keysOf, context, logger });
};

run().then(
  (done) => process.stdout.write(`${JSON.stringify({ done })}\n`),
  (thrown) => {
    const { code, message, issues } = TswarmError.from(thrown);
    logger.error("not recovered", { error: thrown });
    process.stdout.write(`${JSON.stringify({ failed: { code, message, issues } })}\n`);
    process.exitCode = 1;
  },
);
