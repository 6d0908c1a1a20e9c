import { refuse } from "#base/errors.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import { EndpointMode, type ServiceSpec, type VirtualIp } from "#proto/gen/types.ts";
import { addressPair, fullText, newLookups } from "./addresses.ts";
import { pinnedAddresses } from "./pins.ts";

/**
 * The virtual addresses that a service has to have: one of each family per overlay network in mode VIP. Those that it has already
 * stay. Throws TswarmError `exhausted` that names the network and its usage.
 */
export const allocateVips = (tx: ReadTx, spec: ServiceSpec, current: readonly VirtualIp[]): VirtualIp[] => {
  if (spec.endpointMode === EndpointMode.DNSRR) return [];
  const vips: VirtualIp[] = [];
  for (const { target } of spec.task?.networks ?? []) {
    const network = tx.get("network", target);
    if (network?.spec?.driver !== "overlay" || vips.some((v) => v.networkId === target)) continue;
    const kept = current.find((v) => v.networkId === target);
    if (kept !== undefined) {
      vips.push(kept);
      continue;
    }
    // The pins of this spec are not stored yet.
    const lookups = newLookups();
    lookups.pinned.set(target, pinnedAddresses(tx, target, spec.task?.networks ?? []));
    const result = addressPair(tx, network, lookups);
    if ("full" in result) {
      const { reason, remedy } = fullText(tx, network, result.full);
      throw refuse("exhausted", "networks", reason, remedy);
    }
    vips.push({ networkId: target, ...result.pair });
  }
  return vips;
};

export const lacksVips = (tx: ReadTx, spec: ServiceSpec, current: readonly VirtualIp[]): boolean =>
  spec.endpointMode !== EndpointMode.DNSRR &&
  (spec.task?.networks ?? []).some(
    ({ target }) =>
      tx.get("network", target)?.spec?.driver === "overlay" && !current.some((v) => v.networkId === target),
  );
