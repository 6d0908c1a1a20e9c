import type { NodeView } from "#proto/gen/control.ts";
import { NodeAvailability, NodeRole, NodeState } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { capitalize } from "#tsctl/output/human.ts";
import { type ListOptions, listOptions, printList, shortId, toFilters } from "#tsctl/output/list.ts";
import { naturalOrder } from "#tsctl/output/natural-order.ts";
import { enumName } from "#tsctl/output/plain.ts";

const LAYOUT = {
  headers: {
    ID: "ID",
    Hostname: "HOSTNAME",
    Status: "STATUS",
    Availability: "AVAILABILITY",
    ManagerStatus: "MANAGER STATUS",
    EngineVersion: "ENGINE VERSION",
    Address: "ADDRESS",
    Role: "ROLE",
  },
  columns: ["ID", "Hostname", "Status", "Availability", "ManagerStatus", "EngineVersion"],
  key: "ID",
};

/** What a node is called: the name that it was given, else its host's. */
export const nodeName = (view: NodeView): string =>
  view.node?.spec?.annotations?.name || view.node?.description?.hostname || "";

const managerStatus = (view: NodeView): string => (view.leader ? "Leader" : capitalize(view.reachability));

export const nodeLs: Verb = (noun, cli) =>
  listOptions(
    noun.command("ls").alias("list").description("List the nodes of the cluster"),
    "id, name, label, node.label, role, membership",
  ).action(async (options: ListOptions) => {
    const filters = toFilters(options.filter);
    const [control, local] = await Promise.all([cli.control(), cli.local()]);
    const [{ nodes }, self] = await Promise.all([
      control.listNodes({ filters }),
      // Only marks the node that answers; a remote manager does not serve it.
      local
        .info({})
        .then((info) => info.nodeId)
        .catch(() => ""),
    ]);
    const table = options.format === undefined || options.format.startsWith("table");
    const rows = nodes
      .sort((a, b) => naturalOrder(nodeName(a), nodeName(b)))
      .map((view) => {
        const id = view.node?.id ?? "";
        const mark = table && !options.quiet ? (id === self ? " *" : "  ") : "";
        return {
          ID: shortId(id, options) + mark,
          Self: id === self,
          Hostname: nodeName(view),
          Status: capitalize(enumName(NodeState, view.node?.status?.state ?? 0)),
          Availability: capitalize(enumName(NodeAvailability, view.node?.spec?.availability ?? 0)),
          ManagerStatus: managerStatus(view),
          EngineVersion: view.node?.description?.engineVersion ?? "",
          Address: view.node?.status?.addr ?? "",
          Role: enumName(NodeRole, view.node?.spec?.role ?? 0),
          StatusMessage: view.node?.status?.message ?? "",
        };
      });
    printList(cli, LAYOUT, rows, options);
  });
