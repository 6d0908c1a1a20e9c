import { refuse } from "#base/errors.ts";
import type { Verb } from "#tsctl/cli.ts";
import { confirm } from "#tsctl/output/confirm.ts";

const WARNING =
  "This makes a new quorum of this manager alone, from its own log. All other managers are left out for good:\n" +
  "what they know and this one does not is lost, and those that come back have to join again.\n" +
  "Networks, services, keys and join tokens stay, and no container stops.";

type Flags = { forceNewCluster?: true; yes?: true };

export const clusterRecover: Verb = (noun, cli) =>
  noun
    .command("recover")
    .description("Go on with this manager alone when the others are lost for good")
    .option("--force-new-cluster", "that this is what you want")
    .option("-y, --yes", "don't ask")
    .addHelpText("after", "\nRefused while the managers have a quorum. See also: tsctl cluster status")
    .action(async (flags: Flags) => {
      if (!flags.forceNewCluster)
        throw refuse(
          "invalid",
          "--force-new-cluster",
          "recovery leaves the other managers out for good",
          "Say that this is what you want: tsctl cluster recover --force-new-cluster",
        );
      const local = await cli.local();
      if (!flags.yes && !(await confirm(cli, WARNING, "nothing was changed"))) return;
      const { without, kept, index } = await local.recover({});
      cli.out.write(`This node is the only manager now, with all entries of its log up to ${index}.\n`);
      if (without.length > 0)
        cli.out.write(
          `Left out: ${without.join(", ")}. What still runs there is a worker now, once it reaches this manager.\n` +
            "Remove nodes that don't come back: tsctl node rm --force NODE\n",
        );
      cli.out.write(
        `The log as it was is kept in ${kept}.\n\nTo have managers again that can be lost, promote two nodes:\n\n    tsctl node promote NODE NODE\n`,
      );
    });
