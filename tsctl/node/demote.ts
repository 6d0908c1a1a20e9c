import { NodeRole } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { changeNode } from "#tsctl/node/change.ts";

export const nodeDemote: Verb = (noun, cli) =>
  noun
    .command("demote")
    .description("Make nodes workers")
    .argument("<node...>", "id, unique beginning of an id, or name")
    .action(async (refs: string[]) => {
      for (const ref of refs) {
        const changed = await changeNode(cli, ref, (spec) => ({ ...spec, role: NodeRole.WORKER }));
        cli.out.write(changed ? `Node ${ref} becomes a worker\n` : `Node ${ref} is a worker already\n`);
      }
    });
