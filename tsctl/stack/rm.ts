import type { Verb } from "#tsctl/cli.ts";
import { removeAndWait } from "#tsctl/service/gone.ts";
import { describeAction } from "#tsctl/stack/deploy.ts";

export const stackRm: Verb = (noun, cli) =>
  noun
    .command("rm")
    .alias("down")
    .description("Remove stacks and wait until their tasks have stopped")
    .argument("<stack...>")
    .option("-d, --detach", "return at once, don't wait")
    .action(async (names: string[], options: { detach?: true }) => {
      const remove = async () => {
        const control = await cli.control();
        const ids: string[] = [];
        for (const name of names) {
          const { actions } = await control.removeStack({ name });
          for (const action of actions) {
            cli.out.write(describeAction(action));
            if (action.kind === "service" && action.action === "remove") ids.push(action.id);
          }
        }
        return ids;
      };
      if (options.detach) await remove();
      else await removeAndWait(cli, remove);
    });
