import { NodeRole } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { changeNode } from "#tsctl/node/change.ts";

export const nodePromote: Verb = (noun, cli) =>
  noun
    .command("promote")
    .description("Make nodes managers")
    .argument("<node...>", "id, unique beginning of an id, or name")
    .action(async (refs: string[]) => {
      for (const ref of refs) {
        const changed = await changeNode(cli, ref, (spec) => ({ ...spec, role: NodeRole.MANAGER }));
        cli.out.write(changed ? `Node ${ref} becomes a manager\n` : `Node ${ref} is a manager already\n`);
      }
    });
