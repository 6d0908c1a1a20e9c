import type { NodeView } from "#proto/gen/control.ts";
import { NodeAvailability, NodeRole, NodeState } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { nodeName } from "#tsctl/node/ls.ts";
import { resolveSelf } from "#tsctl/node/self.ts";
import { renderFields } from "#tsctl/output/fields.ts";
import { humanMemory } from "#tsctl/output/human.ts";
import { type InspectOptions, inspectOptions, printInspect } from "#tsctl/output/inspect.ts";
import { enumName, plain } from "#tsctl/output/plain.ts";

const pretty = (view: NodeView): string => {
  const node = view.node;
  const d = node?.description;
  return renderFields([
    ["ID", node?.id],
    ["Hostname", nodeName(view)],
    ["Labels", node?.spec?.annotations?.labels],
    ["Role", enumName(NodeRole, node?.spec?.role ?? 0)],
    ["Availability", enumName(NodeAvailability, node?.spec?.availability ?? 0)],
    ["State", `${enumName(NodeState, node?.status?.state ?? 0)} ${node?.status?.message ?? ""}`.trim()],
    ["Address", node?.status?.addr],
    ["Manager", node?.manager ? `${node.manager.addr} ${view.leader ? "leader" : view.reachability}` : undefined],
    ["Platform", d && `${d.os}/${d.arch}, kernel ${d.kernel}`],
    ["CPUs", d?.resources && d.resources.nanoCpus / 1e9],
    ["Memory", d?.resources && humanMemory(d.resources.memoryBytes)],
    ["Engine version", d?.engineVersion],
    ["Engine labels", d?.engineLabels],
    ["Missing", Object.fromEntries(Object.entries(d?.capabilities ?? {}).filter(([, why]) => why !== ""))],
    ["Images", d?.images.map((image) => image.names.join(" ") || image.digest)],
  ]);
};

export const nodeInspect: Verb = (noun, cli) =>
  inspectOptions(noun.command("inspect").description('Show nodes in detail; "self" is the one that answers'))
    .argument("<node...>", "id, unique beginning of an id, or name")
    .option("--pretty", "as text")
    .action(async (refs: string[], options: InspectOptions & { pretty?: true }) => {
      const control = await cli.control();
      const views = [];
      for (const ref of refs) views.push((await control.getNode({ ref: await resolveSelf(cli, ref) })).node);
      if (options.pretty) for (const view of views) cli.out.write(view ? pretty(view) : "");
      else
        printInspect(
          cli,
          views.map((view) => ({
            ...(plain(view?.node) as object),
            reachability: view?.reachability,
            leader: view?.leader,
          })),
          options,
        );
    });
