import { refuse } from "#base/errors.ts";
import { subnetUsage } from "#control-plane/allocator/addresses.ts";
import { allocateSubnets, allocateVni } from "#control-plane/allocator/subnets.ts";
import { checkNetworkSpec } from "#control-plane/specs/network.ts";
import { hasEnded } from "#control-plane/state/keys.ts";
import type { ReadTx, Tx, WriteContext } from "#control-plane/state/types.ts";
import type { NetworkView } from "#proto/gen/control.ts";
import { Network, type NetworkSpec } from "#proto/gen/types.ts";
import { resolveNetwork } from "./references.ts";

/** Makes a network with its subnets and VNI at once. Throws TswarmError: invalid, name_conflict, conflict (overlap), exhausted. */
export const createNetwork = (
  tx: Tx,
  ctx: WriteContext,
  input: { readonly spec: NetworkSpec | undefined },
): Network => {
  const spec = checkNetworkSpec(input.spec);
  const name = spec.annotations!.name;
  const same = tx.networkByName(name);
  if (same !== undefined)
    throw refuse("name_conflict", "annotations.name", `network ${name} exists (${same.id})`, "Choose another name");
  const subnets = allocateSubnets(tx, spec);
  const vni = spec.driver === "overlay" ? allocateVni(tx) : 0;
  const network = Network.fromPartial({ id: ctx.newId(), spec, subnets, vni });
  tx.put("network", network);
  return network;
};

/** Who keeps a network alive, in words: services that are not being removed, and tasks that have not ended. */
const usersOf = (tx: ReadTx, networkId: string): string[] => {
  const services = tx
    .servicesOfNetwork(networkId)
    .filter((s) => !s.pendingDelete)
    .map((s) => `service ${s.spec?.annotations?.name}`);
  const tasks = tx
    .tasksOfNetwork(networkId)
    .filter((t) => !hasEnded(t))
    .map((t) => `task ${t.name}`);
  return [...services, ...tasks];
};

/** Removes a network that nobody uses; its resting addresses go with it. */
export const removeNetwork = (tx: Tx, _ctx: WriteContext, input: { readonly ref: string }): Network => {
  const network = resolveNetwork(tx, input.ref);
  const name = network.spec?.annotations?.name ?? network.id;
  if (network.predefined)
    throw refuse("conflict", "network", `${name} is in every cluster and can't be removed`, "Name another network");
  const users = usersOf(tx, network.id);
  if (users.length > 0)
    throw refuse(
      "conflict",
      "network",
      `${name} is in use by ${users.slice(0, 5).join(", ")}${users.length > 5 ? ` and ${users.length - 5} more` : ""}`,
      "Remove them, or take the network away from them, and wait until their tasks have left",
    );
  dropNetwork(tx, network.id);
  return network;
};

/** A network with who uses it and how full it is. */
export const viewNetwork = (tx: ReadTx, network: Network): NetworkView => ({
  network,
  tasks: tx.tasksOfNetwork(network.id).filter((t) => !hasEnded(t)),
  services: [...tx.servicesOfNetwork(network.id)],
  usage: network.subnets.map((subnet) => subnetUsage(tx, network, subnet)),
});

/** The network, and what only exists with it. */
const dropNetwork = (tx: Tx, id: string): void => {
  tx.delete("network", id);
  for (const service of tx.servicesOfNetwork(id))
    tx.put("service", { ...service, vips: service.vips.filter((v) => v.networkId !== id) });
  for (const lease of [...tx.all("lease")]) if (lease.networkId === id) tx.delete("lease", lease.id);
};
