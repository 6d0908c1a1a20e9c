import type { RestorePiece } from "#proto/gen/node.ts";
import type { Verb } from "#tsctl/cli.ts";
import { askUnlockKey, checkBackup, summary } from "#tsctl/cluster/backup.ts";

type Flags = { advertiseAddr?: string; listenAddr?: string };

export const clusterRestore: Verb = (noun, cli) =>
  noun
    .command("restore")
    .description("Make this node the only manager of a cluster from its backup")
    .argument("<file>", "written by `tsctl cluster backup`")
    .option("--advertise-addr <address>", "where other nodes reach this one: address[:port]")
    .option("--listen-addr <address>", "where the manager listens: address[:port]")
    .addHelpText(
      "after",
      "\nThe managers that the cluster had must not run any more. Nodes that knew this address as a manager's come by\n" +
        "themselves; on others run: tsctl cluster join --token TOKEN ADDRESS",
    )
    .action(async (path: string, flags: Flags) => {
      let unlockKey = "";
      const contents = await checkBackup(cli.pieces(path), async () => (unlockKey = await askUnlockKey(cli)));
      const start = { advertiseAddr: flags.advertiseAddr ?? "", listenAddr: flags.listenAddr ?? "", unlockKey };
      const pieces = async function* (): AsyncGenerator<RestorePiece> {
        yield { piece: { $case: "start", value: start } };
        for await (const data of cli.pieces(path)) yield { piece: { $case: "data", value: Buffer.from(data) } };
      };
      const { nodeId, advertiseAddr } = await (await cli.local()).restore(pieces());
      cli.out.write(`Restored ${summary(contents)}
This node is its only manager now: ${nodeId}, reached at ${advertiseAddr}.

Nodes that don't come back by themselves know other managers' addresses only. Run there:

    tsctl cluster join --token TOKEN ${advertiseAddr}
`);
    });
