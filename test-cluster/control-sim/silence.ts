// A host that nobody hears must be down for the cluster, also when leaders come and go; but a leader may take its time when it
// is new itself.
import { NodeState } from "#proto/gen/types.ts";
import type { SimHost } from "#test-cluster/control-sim/host.ts";
import type { ManagerLife, SimManager } from "#test-cluster/control-sim/manager.ts";
import type { Reference } from "#test-cluster/control-sim/reference.ts";
import type { World } from "#test-cluster/control-sim/world.ts";

/** docs/design/state.md: six periods for a leader that has seen none before it, and one for a leader that stood still. */
const PERIODS = 7;
/** To write it down. */
const SLACK_MS = 3_000;

export class Silence {
  readonly #world: World;
  readonly #reference: Reference;
  readonly #hosts: readonly SimHost[];
  readonly #managers: readonly SimManager[];
  readonly #since = new Map<SimHost, number>();
  #leader: ManagerLife | undefined;
  #leadsSince = 0;

  constructor(world: World, reference: Reference, hosts: readonly SimHost[], managers: readonly SimManager[]) {
    this.#world = world;
    this.#reference = reference;
    this.#hosts = hosts;
    this.#managers = managers;
  }

  /** To be called again and again. */
  check(): void {
    const { now } = this.#world.time;
    const leading = this.#managers.filter((manager) => manager.leading);
    const [leader] = leading;
    const stands = leading.length !== 1 || leader!.life!.actor.pausedUntil > now;
    if (stands || leader!.life !== this.#leader) {
      this.#leader = stands ? undefined : leader!.life;
      this.#leadsSince = now;
    }
    for (const host of this.#hosts) {
      if (!host.poweredOff || !this.#since.has(host)) this.#since.set(host, now);
      const silentMs = now - Math.max(this.#since.get(host)!, this.#leadsSince);
      if (silentMs < PERIODS * this.#world.mix.heartbeatMs + SLACK_MS) continue;
      const node = this.#reference.state.get("node", host.nodeId);
      if (node?.status?.state === NodeState.NODE_READY)
        this.#world.violate(
          "a silent node is down",
          `${host.name} is ready after ${silentMs.toFixed(0)} ms without power`,
        );
    }
  }
}
