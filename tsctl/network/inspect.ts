import type { NetworkView, NodeView } from "#proto/gen/control.ts";
import type { Task } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { networkDetails, networkWarnings } from "#tsctl/network/details.ts";
import { type InspectOptions, inspectOptions, printInspect } from "#tsctl/output/inspect.ts";
import { plain } from "#tsctl/output/plain.ts";

/** The network with how full it is and who is on it. */
const summary = (view: NetworkView, nodes: readonly NodeView[]): object => {
  const id = view.network?.id;
  const hostname = new Map(nodes.map(({ node }) => [node?.id ?? "", node?.description?.hostname ?? ""]));
  const taskOn = (task: Task) =>
    task.attachments
      .filter((a) => a.networkId === id)
      .map((a) => ({
        id: task.id,
        name: task.name,
        node: task.nodeId,
        hostname: hostname.get(task.nodeId) ?? "",
        ipv4: a.ipv4,
        ipv6: a.ipv6,
        mac: a.mac,
      }));
  return {
    ...(plain(view.network) as object),
    usage: view.usage.map((u) => ({ ...u, free: Math.max(u.size - u.used - u.resting, 0) })),
    services: view.services.map((s) => ({
      id: s.id,
      name: s.spec?.annotations?.name,
      vip: s.vips.filter((v) => v.networkId === id).map((v) => ({ ipv4: v.ipv4, ipv6: v.ipv6 })),
    })),
    tasks: view.tasks.flatMap(taskOn),
    warnings: networkWarnings(view, nodes),
  };
};

export const networkInspect: Verb = (noun, cli) =>
  inspectOptions(noun.command("inspect").description("Show networks in detail, with who is on them"))
    .argument("<network...>", "name, id or unique beginning of an id")
    .option("-v, --verbose", "with peers, MTU, and each service's tasks")
    .action(async (refs: string[], options: InspectOptions & { verbose?: true }) => {
      const control = await cli.control();
      const { nodes } = await control.listNodes({ filters: [] });
      const objects: object[] = [];
      for (const ref of refs) {
        const view = (await control.getNetwork({ ref })).view!;
        objects.push({ ...summary(view, nodes), ...(options.verbose ? networkDetails(view, nodes) : {}) });
      }
      printInspect(cli, objects, options);
    });
