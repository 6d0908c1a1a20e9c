// Which hosts have a manager. What node-agent/local/node.ts does with certificates, folders and processes, in short: a promoted
// node joins the quorum, a demoted one drops its manager once the others have let it go, and a node whose manager was removed
// but that is to be one joins anew.
import type { Beginning } from "#control-plane/raft-host/member-files.ts";
import { NodeRole } from "#proto/gen/types.ts";
import type { SimHost } from "#test-cluster/control-sim/host.ts";
import { managerAddress, type SimManager } from "#test-cluster/control-sim/manager.ts";
import type { World } from "#test-cluster/control-sim/world.ts";

const RETRY_MS = 1_000;

export type RolesOptions = {
  readonly world: World;
  readonly hosts: readonly SimHost[];
  /** Grows and shrinks. */
  readonly managers: SimManager[];
  /** A member with an empty disk that the quorum has taken in. */
  readonly make: (host: SimHost, raftId: number, beginning: Beginning) => SimManager;
};

export class Roles {
  changes = 0;
  readonly #o: RolesOptions;
  readonly #joining = new Set<SimHost>();

  constructor(options: RolesOptions) {
    this.#o = options;
    for (const host of options.hosts) {
      host.hasManager = options.managers.some((m) => m.host === host.name);
      this.#followSoon(host);
    }
  }

  #followSoon(host: SimHost): void {
    const { time } = this.#o.world;
    time.after(RETRY_MS, time.world, () => {
      this.#follow(host);
      this.#followSoon(host);
    });
  }

  /** By what its agent was told; one that is dead does nothing. */
  #follow(host: SimHost): void {
    if (!host.alive || host.leaving || host.wantedRole === undefined) return;
    const manager = this.#o.managers.find((m) => m.host === host.name);
    const listed = host.managers.includes(managerAddress(host.name));
    const wanted = host.wantedRole === NodeRole.MANAGER;
    if (manager !== undefined && !listed && (!wanted || manager.removed)) this.drop(host);
    else if (manager !== undefined && !listed) this.#askQuorum(host, manager);
    else if (manager === undefined && wanted) this.#join(host);
  }

  /**
   * Hosts that were cut off while all managers they knew became workers: nobody answers where they ask. Somebody tells them
   * of another by a join, as docs/reference/disaster-recovery.md says.
   */
  tellStranded(): void {
    const leader = this.#o.managers.find((m) => m.leading);
    const present = leader?.life?.log?.status().members.map(({ addr }) => addr) ?? [];
    for (const host of this.#o.hosts)
      if (present.length > 0 && !host.asks.some((address) => present.includes(address))) host.managers = present;
  }

  /** The member and its folder are gone for good. */
  drop(host: SimHost): void {
    const { managers } = this.#o;
    const at = managers.findIndex((m) => m.host === host.name);
    const [manager] = at < 0 ? [] : managers.splice(at, 1);
    if (manager === undefined) return;
    host.hasManager = false;
    manager.removed = true;
    manager.crash("is dropped");
    this.changes++;
  }

  /** As `isLeftOut` of node-agent/local/node.ts. */
  #askQuorum(host: SimHost, manager: SimManager): void {
    const { world, managers } = this.#o;
    const leader = managers.find((m) => m.leading)?.life;
    if (leader?.log === undefined) return;
    const { log, actor } = leader;
    world.time.after(1, actor, () => {
      log.readBarrier().then(
        () => {
          if (log.status().members.some(({ nodeId }) => nodeId === manager.nodeId)) return;
          world.time.after(1, world.time.world, () => {
            if (managers.includes(manager) && !host.managers.includes(managerAddress(host.name))) this.drop(host);
          });
        },
        () => {},
      );
    });
  }

  /** As a manager's Join: the leader takes it in as a learner. */
  #join(host: SimHost): void {
    const { world, managers, make } = this.#o;
    const { time } = world;
    const leader = managers.find((m) => m.leading)?.life;
    if (leader?.log === undefined || this.#joining.has(host)) return;
    this.#joining.add(host);
    const { nodeId } = host;
    const { log, actor } = leader;
    const over = () => this.#joining.delete(host);
    time.after(1, actor, () => {
      log.host.addMember(nodeId, managerAddress(host.name)).then(
        (raftId) => {
          const peers = log.host.peers();
          time.after(1, time.world, () => {
            over();
            if (host.nodeId !== nodeId || !host.alive || managers.some((m) => m.host === host.name)) return;
            const manager = make(host, raftId, { kind: "join", peers });
            managers.push(manager);
            host.hasManager = true;
            manager.start();
            this.changes++;
          });
        },
        (error) => {
          world.note(`${host.name} can't join the quorum: ${error.code}`);
          time.after(1, time.world, over);
        },
      );
    });
    // The leader may die before it answers.
    time.after(20 * RETRY_MS, time.world, over);
  }
}
