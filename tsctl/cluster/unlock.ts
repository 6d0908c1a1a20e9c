import { parseUnlockKey } from "#base/unlock-key.ts";
import type { Verb } from "#tsctl/cli.ts";
import { askSecret } from "#tsctl/output/ask-secret.ts";

export const clusterUnlock: Verb = (noun, cli) =>
  noun
    .command("unlock")
    .description("Unlock the manager of this node, which was started again")
    .addHelpText("after", "\nAsks for the key, or reads it from a pipe. See also: tsctl cluster unlock-key")
    .action(async () => {
      const written = await askSecret(cli, "Enter unlock key: ");
      if (written === undefined) return cli.exit(130);
      const unlockKey = parseUnlockKey(written);
      await (await cli.local()).unlock({ unlockKey });
    });
