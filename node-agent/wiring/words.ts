// Objects of the kernel in the words of people who know their networks and tasks, not our names for links and namespaces.

import type { HostNetworks } from "#net/model/host-networks.ts";
import { bridgeName, egressName, hostEndName, overlayNs, shimName } from "#net/model/ifname.ts";
import type { Difference } from "#net/plan/differences.ts";

/** @return "eth0 in task web.1", "br0 in overlay backend", "tse4097 (way out of overlay backend) on the host" */
export const objectInWords = (
  { namespace, object, kind }: Pick<Difference, "namespace" | "object" | "kind">,
  { networks, containers }: HostNetworks,
  taskName: (taskId: string) => string,
): string => {
  const task = containers.find(({ netns }) => netns === namespace && netns !== "");
  const overlay = networks.find(({ driver, vni }) => driver === "overlay" && overlayNs(vni) === namespace);
  if (kind === "namespace") {
    if (task) return `task ${taskName(task.taskId)}`;
    return overlay ? `overlay ${overlay.name}` : object;
  }
  const place = task
    ? `in task ${taskName(task.taskId)}`
    : overlay
      ? `in overlay ${overlay.name}`
      : namespace === ""
        ? "on the host"
        : `in ${namespace}`;
  const known = new Map<string, string>();
  for (const { id, name, driver, vni } of networks) {
    if (driver === "bridge") known.set(bridgeName(id, name), `bridge of network ${name}`);
    if (driver === "overlay") known.set(egressName(vni), `way out of overlay ${name}`);
    if (driver === "macvlan") known.set(shimName(id), `host's link to network ${name}`);
  }
  for (const { taskId, netns, attachments } of containers)
    for (const { ifname } of attachments)
      known.set(hostEndName(netns, ifname), `${ifname} of task ${taskName(taskId)}`);
  const link = object.split(" ").at(-1)!;
  const meaning = known.get(link);
  return `${object}${meaning === undefined ? "" : ` (${meaning})`} ${place}`;
};
