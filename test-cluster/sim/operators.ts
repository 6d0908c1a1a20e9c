// Who runs the cluster: hands leadership over, adds, removes and replaces members.
import type { Random } from "#base/random.ts";
import type { Peer } from "#control-plane/raft-host/peers.ts";
import { chance, pick } from "#test-cluster/sim/draw.ts";
import type { FaultMix } from "#test-cluster/sim/fault-mix.ts";
import type { Life, SimMember } from "#test-cluster/sim/member.ts";
import { type Recurring, recurring } from "#test-cluster/sim/recurring.ts";
import type { VirtualTime } from "#test-cluster/sim/virtual-time.ts";

export type OperatorsOptions = {
  readonly time: VirtualTime;
  readonly random: Random;
  readonly mix: FaultMix;
  readonly members: ReadonlyMap<number, SimMember>;
  readonly addMember: (raftId: number, nodeId: string, peers: readonly Peer[]) => void;
};

/** How often an operator looks whether a disk has to be replaced, ms. */
const REPLACE_EVERY = 3000;

export class Operators {
  #o: OperatorsOptions;
  #nodes = 0;
  #recurring: Recurring;

  constructor(options: OperatorsOptions) {
    this.#o = options;
    const { mix, time } = options;
    this.#recurring = recurring(time, options.random);
    this.#recurring.every(mix.transferEvery, (random) => this.#onLeader(random, (life) => transfer(life, random)));
    this.#recurring.every(mix.churnEvery, (random) =>
      this.#onSettledLeader(random, (life) => this.#churn(life, random)),
    );
    this.#recurring.every(mix.rotEvery === 0 ? 0 : REPLACE_EVERY, (random) =>
      this.#onSettledLeader(random, (life) => this.#replace(life)),
    );
  }

  end(): void {
    this.#recurring.end();
  }

  #onLeader(random: Random, call: (life: Life) => Promise<unknown>): void {
    const leaders = [...this.#o.members.values()].flatMap(({ life }) =>
      life !== null && !life.dead && life.log !== null && life.core?.role === "leader" ? [life] : [],
    );
    if (leaders.length === 0) return;
    const life = pick(random, leaders);
    this.#o.time.as(life, () => {
      call(life).catch(() => {});
    });
  }

  /** While a change is under way the voters that can be seen are not those that will be: two removals would be too many. */
  #onSettledLeader(random: Random, call: (life: Life) => Promise<unknown>): void {
    this.#onLeader(random, async (life) => {
      const core = life.core!;
      if (core.pendingConfIndex <= core.log.applied) await call(life);
    });
  }

  /**
   * Up to one voter more than at first, and down again, but not below three: of two, a removed one can leave the other alone
   * for good when the news of the commit is lost, because changes count when they are applied (etcd's raft has this too).
   */
  async #churn(life: Life, random: Random): Promise<void> {
    const { mix, members } = this.#o;
    const all = life.log!.status().members;
    const voters = all.filter((m) => m.voter);
    if (voters.length > Math.max(mix.members, 3)) {
      await life.log!.removeMember(chance(random, 0.4) ? life.member.raftId : pick(random, voters).raftId);
      return;
    }
    // A learner is given up now and then before it has caught up.
    const learners = all.filter((m) => !m.voter);
    if (learners.length > 0 && chance(random, 0.3)) {
      await life.log!.removeMember(pick(random, learners).raftId);
      return;
    }
    const gone = [...members.values()].filter((m) => m.removed && !all.some((other) => other.nodeId === m.nodeId));
    const nodeId = gone.length > 0 && chance(random, 0.5) ? pick(random, gone).nodeId : `joiner-${++this.#nodes}`;
    await this.#add(life, nodeId);
  }

  /** A known node gets a fresh id and an empty disk. */
  async #add(life: Life, nodeId: string): Promise<void> {
    const raftId = await life.log!.addMember(nodeId, nodeId);
    this.#o.addMember(raftId, nodeId, life.host!.peers());
  }

  /** What an operator does when a member refuses to start: remove it, then let it join anew. */
  async #replace(life: Life): Promise<void> {
    const all = life.log!.status().members;
    const lost = [...this.#o.members.values()].find((m) => m.lost && !m.removed);
    if (lost === undefined) return;
    if (all.some((m) => m.raftId === lost.raftId)) await life.log!.removeMember(lost.raftId);
    lost.removed = true;
    await this.#add(life, lost.nodeId);
  }
}

const transfer = (life: Life, random: Random): Promise<void> => {
  const voters = life.log!.status().members.filter((m) => m.voter && !m.leader);
  return life.log!.transferLeadership(
    voters.length > 0 && chance(random, 0.5) ? pick(random, voters).raftId : undefined,
  );
};
