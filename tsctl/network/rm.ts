import { TswarmError } from "#base/errors.ts";
import type { Verb } from "#tsctl/cli.ts";
import { confirm } from "#tsctl/output/confirm.ts";

const INGRESS =
  "Without the ingress network no port can be published until there is another one (network create --ingress).";

export const networkRm: Verb = (noun, cli) =>
  noun
    .command("rm")
    .alias("remove")
    .description("Remove networks that nobody uses")
    .argument("<network...>", "name, id or unique beginning of an id")
    .option("-f, --force", "don't ask, and don't mind a network that is not there")
    .action(async (refs: string[], options: { force?: true }) => {
      const control = await cli.control();
      for (const ref of refs) {
        try {
          const { view } = options.force ? { view: undefined } : await control.getNetwork({ ref });
          if (view?.network?.spec?.ingress && !(await confirm(cli, INGRESS))) return;
          await control.removeNetwork({ ref });
        } catch (error) {
          if (!(options.force && error instanceof TswarmError && error.code === "not_found")) throw error;
        }
        cli.out.write(`${ref}\n`);
      }
    });
