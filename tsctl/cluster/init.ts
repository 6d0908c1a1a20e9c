import { type Issue, refuseAll } from "#base/errors.ts";
import { ClusterSpec } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { joinCommand } from "#tsctl/cluster/join-token.ts";
import { unlockHelp } from "#tsctl/cluster/unlock-key.ts";
import { flagReader } from "#tsctl/flags/amounts.ts";
import { collect } from "#tsctl/output/list.ts";

export type InitFlags = {
  readonly advertiseAddr?: string;
  readonly listenAddr?: string;
  readonly name?: string;
  readonly defaultAddrPool: readonly string[];
  readonly defaultAddrPoolMaskLength?: string;
  readonly dataPathPort?: string;
  readonly dispatcherHeartbeat?: string;
  readonly taskHistoryLimit?: string;
  readonly certExpiry?: string;
  readonly autolock?: true;
};

/** Throws `invalid` naming every wrong flag. Zero and empty mean the server's default. */
export const clusterSpec = (flags: InitFlags): ClusterSpec => {
  const read = flagReader();
  const issues: Issue[] = read.issues;
  for (const pool of flags.defaultAddrPool)
    if (!/^[0-9a-fA-F.:]+\/\d{1,3}$/.test(pool))
      issues.push({
        field: "--default-addr-pool",
        reason: `"${pool}" is not a subnet`,
        remedy: 'Write it like "10.0.0.0/8"',
      });
  const spec = ClusterSpec.fromPartial({
    name: flags.name ?? "",
    heartbeatMs: read.duration("--dispatcher-heartbeat", flags.dispatcherHeartbeat) ?? 0,
    taskHistory: read.count("--task-history-limit", flags.taskHistoryLimit) ?? 0,
    poolsV4: flags.defaultAddrPool.filter((pool) => !pool.includes(":")),
    poolV4Prefix: read.count("--default-addr-pool-mask-length", flags.defaultAddrPoolMaskLength) ?? 0,
    poolsV6: flags.defaultAddrPool.filter((pool) => pool.includes(":")),
    dataPathPort: read.count("--data-path-port", flags.dataPathPort) ?? 0,
    certValidityMs: read.duration("--cert-expiry", flags.certExpiry) ?? 0,
    autolock: flags.autolock ?? false,
  });
  refuseAll("The command", issues);
  return spec;
};

export const clusterInit: Verb = (noun, cli) =>
  noun
    .command("init")
    .description("Make this node the first manager of a new cluster")
    .option("--advertise-addr <address>", "where other nodes reach this one: address[:port]")
    .option("--listen-addr <address>", "where the manager listens: address[:port]")
    .option("--name <name>", "name of the cluster")
    .option("--default-addr-pool <cidr>", "where networks get their subnets from; repeatable", collect, [])
    .option("--default-addr-pool-mask-length <n>", "length of these subnets")
    .option("--data-path-port <port>", "UDP port of the overlay networks")
    .option("--dispatcher-heartbeat <duration>", "how often nodes tell that they are up")
    .option("--task-history-limit <n>", "ended tasks kept for each slot")
    .option("--cert-expiry <duration>", "validity of the nodes' certificates")
    .option("--autolock", "managers that are started again wait for the unlock key")
    .action(async (flags: InitFlags) => {
      const spec = clusterSpec(flags);
      const answer = await (await cli.local()).init({
        advertiseAddr: flags.advertiseAddr ?? "",
        listenAddr: flags.listenAddr ?? "",
        name: flags.name ?? "",
        spec,
      });
      cli.out.write(`Cluster initialized: node ${answer.nodeId} is now a manager.

To add a worker, run on its host:

    ${joinCommand(answer.joinTokenWorker, [answer.advertiseAddr])}

To add a manager, run "tsctl cluster join-token manager" and follow what it says.
`);
      if (answer.unlockKey) cli.out.write(`\n${unlockHelp(answer.unlockKey)}`);
    });
