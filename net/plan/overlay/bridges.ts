import { overlayBridgeNumber } from "#net/model/ifname.ts";

/**
 * The number of the bridge for each port: that of the bridge it is on now, for moving it would cost its traffic; else the
 * first with room. So nothing has to be remembered, and bridges that were emptied go. A bridge beyond those that are needed
 * counts only when it is joined to the first.
 */
export const placePorts = (
  currentBridges: readonly string[],
  portsPerBridge: number,
  isJoined: (bridge: number) => boolean,
): readonly number[] => {
  const used: number[] = [];
  const take = (n: number): number => {
    used[n] = (used[n] ?? 0) + 1;
    return n;
  };
  const needed = Math.ceil(currentBridges.length / portsPerBridge);
  const kept = currentBridges.map((name) => {
    const n = overlayBridgeNumber(name);
    if (n === undefined || (used[n] ?? 0) >= portsPerBridge) return undefined;
    return n < needed || isJoined(n) ? take(n) : undefined;
  });
  let first = 0;
  return kept.map((n) => {
    if (n !== undefined) return n;
    while ((used[first] ?? 0) >= portsPerBridge) first++;
    return take(first);
  });
};
