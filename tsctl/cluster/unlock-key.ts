import { refuse } from "#base/errors.ts";
import type { Verb } from "#tsctl/cli.ts";

export const unlockHelp = (
  unlockKey: string,
): string => `To unlock a manager after it restarts, run on its host \`tsctl cluster unlock\`
and give it this key:

    ${unlockKey}

Keep it in a password manager: without it a manager can't be started again.
`;

export const clusterUnlockKey: Verb = (noun, cli) =>
  noun
    .command("unlock-key")
    .description("Show the key that unlocks managers which were started again")
    .option("--rotate", "make a new key; managers that are down need the old one")
    .option("-q, --quiet", "only the key")
    .action(async (options: { rotate?: true; quiet?: true }) => {
      const { unlockKey } = await (await cli.control()).getUnlockKey({ rotate: options.rotate ?? false });
      if (unlockKey === "")
        throw refuse(
          "conflict",
          "cluster",
          "autolock is off",
          "Turn it on with `tsctl cluster update --autolock=true`",
        );
      if (options.quiet) return cli.out.write(`${unlockKey}\n`);
      if (options.rotate)
        cli.out.write("Rotated the unlock key. Keep the old one until every manager has been up.\n\n");
      cli.out.write(unlockHelp(unlockKey));
    });
