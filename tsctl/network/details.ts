// What `network inspect --verbose` adds, and what is said about every network that has a problem.
import { routeConflicts } from "#control-plane/specs/route-conflicts.ts";
import type { NetworkView, NodeView } from "#proto/gen/control.ts";
import { type Node, type Task, TaskState } from "#proto/gen/types.ts";
import { enumName } from "#tsctl/output/plain.ts";

const MTU = "com.docker.network.driver.mtu";

const nodesOf = (nodes: readonly NodeView[]): Node[] => nodes.flatMap(({ node }) => (node ? [node] : []));

/** Nodes with a route where the network is: they can't reach one of the two. Nodes without an address of the ingress network. */
export const networkWarnings = (view: NetworkView, nodes: readonly NodeView[]): string[] => {
  const network = view.network!;
  const { spec, subnets } = network;
  const conflicts = routeConflicts(network, nodesOf(nodes)).map(
    ({ hostname, route, subnet }) =>
      `node ${hostname} has a route of its own to ${route}, which overlaps ${subnet}: it reaches only one of them`,
  );
  if (!spec?.ingress || subnets.length === 0) return conflicts;
  const name = spec.annotations?.name;
  const without = nodesOf(nodes).filter((node) => !network.nodes.some((a) => a.nodeId === node.id));
  return [
    ...conflicts,
    ...without.map(
      (node) =>
        `node ${node.description?.hostname} has no address here, so it can't pass on what it accepts for published ports: ` +
        `the network is full (tsctl network update --subnet-add SUBNET ${name})`,
    ),
  ];
};

/** Where packets between the nodes go: every node with a task on the network, and all of them on the ingress network. */
const peersOf = (view: NetworkView, nodes: readonly Node[]): object[] => {
  const { nodes: own } = view.network!;
  return nodes.flatMap((node) => {
    const tasks = view.tasks.filter((t) => t.nodeId === node.id).length;
    const address = own.find((a) => a.nodeId === node.id);
    if (tasks === 0 && address === undefined) return [];
    const addresses = address ? { ipv4: address.ipv4, ipv6: address.ipv6 } : {};
    return [
      {
        node: node.id,
        hostname: node.description?.hostname,
        addr: node.status?.addr,
        tasks,
        ...addresses,
      },
    ];
  });
};

export const networkDetails = (view: NetworkView, nodes: readonly NodeView[]): object => {
  const { id, spec, vni } = view.network!;
  const all = nodesOf(nodes);
  const hostname = (nodeId: string): string => all.find((n) => n.id === nodeId)?.description?.hostname ?? "";
  const taskOn = (task: Task) => {
    const attachment = task.attachments.find((a) => a.networkId === id);
    return {
      id: task.id,
      slot: task.slot,
      state: enumName(TaskState, task.status?.state ?? 0),
      hostname: hostname(task.nodeId),
      hostAddr: all.find((n) => n.id === task.nodeId)?.status?.addr ?? "",
      ipv4: attachment?.ipv4 ?? "",
      ipv6: attachment?.ipv6 ?? "",
      mac: attachment?.mac ?? "",
      error: task.status?.error ?? "",
    };
  };
  return {
    vni,
    // The agents work it out for each node from the way to the peers.
    mtu: spec?.options[MTU] ?? "from the route to the peers",
    peers: peersOf(view, all),
    services: view.services.map((service) => ({
      id: service.id,
      name: service.spec?.annotations?.name,
      vip: service.vips.filter((v) => v.networkId === id).map((v) => ({ ipv4: v.ipv4, ipv6: v.ipv6 })),
      ports: service.ports.map((p) => ({ published: p.published, target: p.target })),
      tasks: view.tasks.filter((t) => t.serviceId === service.id).map(taskOn),
    })),
  };
};
