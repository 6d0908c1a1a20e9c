import { NodeRole } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { enumName } from "#tsctl/output/plain.ts";

type Flags = { token: string; advertiseAddr?: string; listenAddr?: string };

export const clusterJoin: Verb = (noun, cli) =>
  noun
    .command("join")
    .description("Add this node to a cluster")
    .argument("<manager...>", "address:port of a manager; more may be given")
    .requiredOption("--token <token>", "from `tsctl cluster join-token worker` or `manager`")
    .option("--advertise-addr <address>", "where other nodes reach this one: address[:port]")
    .option("--listen-addr <address>", "where a manager on this node listens: address[:port]")
    .action(async (remoteAddrs: string[], flags: Flags) => {
      const { nodeId, role } = await (await cli.local()).join({
        token: flags.token,
        remoteAddrs,
        advertiseAddr: flags.advertiseAddr ?? "",
        listenAddr: flags.listenAddr ?? "",
      });
      cli.out.write(`This node joined the cluster as a ${enumName(NodeRole, role)}: ${nodeId}\n`);
    });
