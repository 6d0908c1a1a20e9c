// Clients that watch the state: after their first message they must see every change, once, in order, whoever leads and
// however often their stream ends. Some come back with the last version that they have seen, as dashboards do, and may only
// miss changes that a snapshot makes up for.

import type { Random } from "#base/random.ts";
import { ControlDefinition, WatchRequest, type WatchResponse } from "#proto/gen/control.ts";
import { createClient } from "#proto/rpc/client.ts";
import type { SimNet } from "#test-cluster/control-sim/grpc.ts";
import { localAddress, type SimManager } from "#test-cluster/control-sim/manager.ts";
import type { Reference } from "#test-cluster/control-sim/reference.ts";
import { newActor, type World } from "#test-cluster/control-sim/world.ts";
import { chance, exponential, pick } from "#test-cluster/sim/draw.ts";

const RETRY_MS = 300;

export type Watcher = { stop(): void /** Up to which version it has seen everything. */; readonly seen: () => number };

const textOf = ({ action, object }: WatchResponse["events"][number]): string => {
  const { $case, value } = object!.object!;
  return `${action} ${$case}/${value.id}@${action === "remove" ? "" : value.meta?.version}`;
};

export const startWatcher = (
  world: World,
  net: SimNet,
  reference: Reference,
  managers: readonly SimManager[],
  name: string,
  random: Random,
): Watcher => {
  const actor = newActor(name);
  const { time } = world;
  const resumes = chance(random, 0.6);
  let at = 0;
  let begun = false;
  let stopped = false;

  /** The changes between what it has seen and `version`, which were not sent. */
  const missed = (version: number): string | undefined => {
    for (let v = at + 1; v < version; v++)
      if (reference.history.has(v)) return `${name} is at ${at} and gets ${version}: ${v} is missing`;
    return undefined;
  };

  const began = (version: number, afterSnapshot: boolean): void => {
    if (begun && resumes && (afterSnapshot ? version < at : version !== at))
      world.violate("a watch goes on where it ended", `${name} is at ${at}, its next watch begins at ${version}`);
    begun = true;
    at = version;
  };

  const take = ({ version, events }: WatchResponse): void => {
    if (version <= at)
      world.violate("a watcher sees each change once, in order", `${name} is at ${at} and gets ${version}`);
    const gap = missed(version);
    if (gap !== undefined) world.violate("a watcher sees every change", gap);
    const known = reference.history.get(version)?.join() ?? "";
    const got = events.map(textOf).join();
    if (got !== known)
      world.violate("a watcher sees what was committed", `${name} at ${version}: ${got}, not ${known}`);
    at = version;
  };

  const watch = async (): Promise<void> => {
    const alive = managers.filter((manager) => manager.alive);
    if (alive.length === 0) return;
    const manager = pick(random, alive);
    const channel = net.dial({ host: manager.host, actor, peer: undefined }, localAddress(manager.host));
    const leave = new AbortController();
    const { watcherLeavesEvery } = world.mix;
    const cancel = time.after(exponential(random, watcherLeavesEvery), actor, () => leave.abort());
    let first = true;
    let snapshot = false;
    try {
      const request = WatchRequest.fromPartial(resumes && begun ? { since: at } : {});
      for await (const message of createClient(ControlDefinition, channel).watch(request, { signal: leave.signal })) {
        if (leave.signal.aborted) break;
        snapshot ||= message.snapshot;
        if (message.snapshot) continue;
        if (first) began(message.version, snapshot);
        else take(message);
        first = false;
      }
    } finally {
      cancel();
    }
  };

  const run = async (): Promise<void> => {
    while (!stopped) {
      await watch().catch((error) => world.note(`${name}: ${error.code}`));
      await time.wait(RETRY_MS, actor);
    }
  };
  time.after(0, actor, () => void run());
  return {
    seen: () => at,
    stop() {
      stopped = true;
      actor.dead = true;
      net.died(actor);
    },
  };
};
