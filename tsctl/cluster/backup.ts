import { refuse, TswarmError } from "#base/errors.ts";
import { parseUnlockKey } from "#base/unlock-key.ts";
import type { BackupContents } from "#control-plane/backup/contents.ts";
import type { Cli, Verb } from "#tsctl/cli.ts";
import { askSecret } from "#tsctl/output/ask-secret.ts";
import { humanSize } from "#tsctl/output/human.ts";

export const summary = (c: BackupContents): string =>
  `cluster ${c.clusterName} (${c.clusterId}) as of ${new Date(c.createdAt).toISOString()}: ` +
  `${c.services} services, ${c.networks} networks, ${c.nodes} nodes, ${c.tasks} tasks; ${humanSize(c.bytes)}`;

/** Reads all of it, as a restore would. `unlockKey` is asked for when it is of a cluster with autolock. */
export const checkBackup = async (
  pieces: AsyncIterable<Uint8Array>,
  unlockKey: () => Promise<string>,
): Promise<BackupContents> => {
  const [{ decodeBackup, openBackup }, { contentsOf }] = await Promise.all([
    import("#control-plane/backup/format.ts"),
    import("#control-plane/backup/contents.ts"),
  ]);
  const backup = await decodeBackup(pieces);
  return contentsOf(backup.sealed ? openBackup(backup, await unlockKey()) : backup);
};

export const askUnlockKey = async (cli: Cli): Promise<string> => {
  const written = await askSecret(cli, "The backup is sealed. Enter unlock key: ");
  if (written === undefined) throw new TswarmError("cancelled", "cancelled");
  return parseUnlockKey(written);
};

async function* fromManager(cli: Cli): AsyncGenerator<Uint8Array> {
  for await (const { data } of (await cli.quorum()).backup({})) yield data;
}

/** To standard output; what went there is checked on the way. */
async function* passedOn(cli: Cli): AsyncGenerator<Uint8Array> {
  for await (const data of fromManager(cli)) {
    cli.out.write(data);
    await cli.out.drained();
    yield data;
  }
}

const KEYS =
  "It holds the keys of the cluster: whoever can read it can become a manager. Keep it where only you can.\n";

export const clusterBackup: Verb = (noun, cli) =>
  noun
    .command("backup")
    .description("Write all that the cluster knows to one file")
    .argument("<file>", '"-" is standard output')
    .option("--verify", "check a backup that was made before; needs no cluster")
    .action(async (path: string, { verify }: { verify?: true }) => {
      if (verify) {
        cli.out.write(
          `${path} is complete: ${summary(await checkBackup(cli.pieces(path), () => askUnlockKey(cli)))}\n`,
        );
        return;
      }
      const key = async () => (await (await cli.control()).getUnlockKey({ rotate: false })).unlockKey;
      if (path === "-") {
        if (cli.out.isTTY)
          throw refuse("invalid", "file", "a backup is not for a terminal", "Name a file, or redirect the output");
        const contents = await checkBackup(passedOn(cli), key);
        cli.err.write(`Backed up ${summary(contents)}\n${KEYS}`);
        return;
      }
      let contents: BackupContents | undefined;
      await cli.save(path, fromManager(cli), async (written) => {
        contents = await checkBackup(written, key);
      });
      cli.out.write(`${path}: ${summary(contents!)}\n${KEYS}`);
    });
