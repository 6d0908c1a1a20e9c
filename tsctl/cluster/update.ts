import { refuse, refuseAll, TswarmError } from "#base/errors.ts";
import { ClusterSpec } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { unlockHelp } from "#tsctl/cluster/unlock-key.ts";
import { flagReader } from "#tsctl/flags/amounts.ts";

type Flags = {
  /** true: given without a value. */
  readonly autolock?: string | true;
  readonly certExpiry?: string;
  readonly dispatcherHeartbeat?: string;
  readonly taskHistoryLimit?: string;
};

const ATTEMPTS = 5;

/** The fields that are to change. Throws `invalid` naming every wrong flag. */
const wanted = (flags: Flags): Partial<ClusterSpec> => {
  const read = flagReader();
  const autolock = flags.autolock === true ? "true" : flags.autolock;
  const changes = {
    autolock: read.choice("--autolock", autolock, { true: true, false: false }),
    certValidityMs: read.duration("--cert-expiry", flags.certExpiry),
    heartbeatMs: read.duration("--dispatcher-heartbeat", flags.dispatcherHeartbeat),
    taskHistory: read.count("--task-history-limit", flags.taskHistoryLimit),
  };
  refuseAll("The command", read.issues);
  const given = Object.entries(changes).filter(([, value]) => value !== undefined);
  if (given.length === 0) throw refuse("invalid", "flags", "nothing is to change", "See `tsctl cluster update --help`");
  return Object.fromEntries(given);
};

export const clusterUpdate: Verb = (noun, cli) =>
  noun
    .command("update")
    .description("Change settings of the cluster")
    .option("--autolock [true|false]", "whether managers that are started again wait for the unlock key")
    .option("--cert-expiry <duration>", "validity of the nodes' certificates")
    .option("--dispatcher-heartbeat <duration>", "how often nodes tell that they are up")
    .option("--task-history-limit <n>", "ended tasks kept for each slot")
    .action(async (flags: Flags) => {
      const changes = wanted(flags);
      const control = await cli.control();
      for (let attempt = 1; ; attempt++) {
        const { view } = await control.getCluster({});
        const { meta, spec } = view!.cluster!;
        const next = ClusterSpec.fromPartial({ ...spec, ...changes });
        try {
          const { unlockKey } = await control.updateCluster({ version: meta?.version ?? 0, spec: next });
          cli.out.write("Cluster updated.\n");
          if (unlockKey !== "") cli.out.write(`\n${unlockHelp(unlockKey)}`);
          return;
        } catch (error) {
          if (!(error instanceof TswarmError && error.code === "stale_version") || attempt === ATTEMPTS) throw error;
        }
      }
    });
