import type { Verb } from "#tsctl/cli.ts";
import { nodeName } from "#tsctl/node/ls.ts";
import { renderFields } from "#tsctl/output/fields.ts";
import { shortDuration } from "#tsctl/output/human.ts";
import { type InspectOptions, inspectOptions, printInspect } from "#tsctl/output/inspect.ts";
import { plain } from "#tsctl/output/plain.ts";
import { layoutTable } from "#tsctl/output/table.ts";

export const clusterStatus: Verb = (noun, cli) =>
  inspectOptions(noun.command("status").description("Show the cluster and its managers")).action(
    async (options: InspectOptions) => {
      const control = await cli.control();
      const [{ view }, { nodes }] = await Promise.all([control.getCluster({}), control.listNodes({ filters: [] })]);
      if (options.format !== undefined) return printInspect(cli, [plain(view)], options);
      const names = new Map(nodes.map((node) => [node.node?.id ?? "", nodeName(node)]));
      const spec = view?.cluster?.spec;
      const up = view?.members.filter((member) => member.reachable).length ?? 0;
      cli.out.write(
        renderFields([
          ["ID", view?.cluster?.id],
          ["Name", spec?.name],
          ["Nodes", nodes.length],
          ["Managers", `${view?.members.length ?? 0}, ${up} reachable`],
          ["Leader", names.get(view?.leaderNodeId ?? "") ?? view?.leaderNodeId],
          ["Raft", `term ${view?.term}, commit ${view?.commit}, applied ${view?.applied}`],
          ["Heartbeat", spec && shortDuration(spec.heartbeatMs)],
          ["Address pools", [...(spec?.poolsV4 ?? []), ...(spec?.poolsV6 ?? [])].join(", ")],
          ["Data path port", spec?.dataPathPort],
        ]),
      );
      const rows = (view?.members ?? []).map((m) => [
        names.get(m.nodeId) ?? m.nodeId,
        m.addr,
        m.leader ? "Leader" : m.reachable ? "Reachable" : "Unreachable",
        m.voter ? "yes" : "no",
        String(m.match),
      ]);
      cli.out.write(`\n${layoutTable([["MANAGER", "ADDRESS", "STATUS", "VOTER", "MATCH"], ...rows])}`);
    },
  );
