// Which of the errors of an apply concern a task: those of its namespace and of the overlays it is on, and on the host those of
// its own links and of what all share. Pure.
import type { ApplyError } from "#net/exec/reconciler.ts";
import { bridgeOptions } from "#net/model/driver-options.ts";
import { bridgeName, containerNs, egressName, hostEndName, overlayNs, shimName } from "#net/model/ifname.ts";
import type { Network, Task } from "#proto/gen/types.ts";

/** undefined: the task is wired as far as it is concerned. */
export const failureFor = (
  task: Task,
  networks: ReadonlyMap<string, Network>,
  errors: readonly ApplyError[],
): ApplyError | undefined => {
  if (errors.length === 0) return undefined;
  const namespaces = new Set([containerNs(task.id)]);
  const links = new Set([""]);
  task.attachments.forEach(({ networkId, interfaceName }, i) => {
    const { spec, vni = 0 } = networks.get(networkId) ?? {};
    const named = spec?.driver === "bridge" ? bridgeOptions(spec.options).name : "";
    for (const link of [
      named || bridgeName(networkId, spec?.annotations?.name ?? ""),
      hostEndName(containerNs(task.id), interfaceName || `eth${i}`),
      shimName(networkId),
      egressName(vni),
    ])
      links.add(link);
    namespaces.add(overlayNs(vni));
  });
  return errors.find(({ namespace, link }) => (namespace === "" ? links.has(link) : namespaces.has(namespace)));
};
