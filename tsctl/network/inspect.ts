import type { Verb } from "#tsctl/cli.ts";
import { type InspectOptions, inspectOptions, printInspect } from "#tsctl/output/inspect.ts";
import { plain } from "#tsctl/output/plain.ts";

export const networkInspect: Verb = (noun, cli) =>
  inspectOptions(noun.command("inspect").description("Show networks in detail, with who is on them"))
    .argument("<network...>", "name, id or unique beginning of an id")
    .action(async (refs: string[], options: InspectOptions) => {
      const control = await cli.control();
      const objects: unknown[] = [];
      for (const ref of refs) {
        const { view } = await control.getNetwork({ ref });
        const id = view?.network?.id;
        objects.push({
          ...(plain(view?.network) as object),
          usage: view?.usage,
          services: view?.services.map((s) => ({
            id: s.id,
            name: s.spec?.annotations?.name,
            vip: s.vips.filter((v) => v.networkId === id).map((v) => ({ ipv4: v.ipv4, ipv6: v.ipv6 })),
          })),
          tasks: view?.tasks.flatMap((task) =>
            task.attachments
              .filter((a) => a.networkId === id)
              .map((a) => ({
                id: task.id,
                name: task.name,
                node: task.nodeId,
                ipv4: a.ipv4,
                ipv6: a.ipv6,
                mac: a.mac,
              })),
          ),
        });
      }
      printInspect(cli, objects, options);
    });
