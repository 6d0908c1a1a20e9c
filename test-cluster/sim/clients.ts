// Who uses the cluster: proposals, read barriers, changes of members, transfers of leadership.
import { TswarmError } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import type { Peer } from "#control-plane/raft-host/peers.ts";
import { chance, pick } from "#test-cluster/sim/draw.ts";
import type { FaultMix } from "#test-cluster/sim/fault-mix.ts";
import type { Life, SimMember } from "#test-cluster/sim/member.ts";
import { type Recurring, recurring } from "#test-cluster/sim/recurring.ts";
import type { StateChecks } from "#test-cluster/sim/state-checks.ts";
import type { VirtualTime } from "#test-cluster/sim/virtual-time.ts";

export type ClientsOptions = {
  readonly time: VirtualTime;
  readonly random: Random;
  readonly mix: FaultMix;
  readonly members: ReadonlyMap<number, SimMember>;
  readonly checks: StateChecks;
  readonly addMember: (raftId: number, nodeId: string, peers: readonly Peer[]) => void;
};

export class Clients {
  #o: ClientsOptions;
  #operations = 0;
  #nodes = 0;
  #recurring: Recurring;

  constructor(options: ClientsOptions) {
    this.#o = options;
    const { mix, time } = options;
    this.#recurring = recurring(time, options.random);
    this.#recurring.every(mix.proposeEvery, (random) => {
      const life = this.#someone(random, 0.9);
      for (let i = 1 + random.int(mix.burst); i > 0 && life !== undefined; i--) this.propose(life, random);
    });
    this.#recurring.every(mix.readEvery, (random) => {
      const life = this.#someone(random, 0.5);
      if (life !== undefined) this.read(life);
    });
    this.#recurring.every(mix.transferEvery, (random) => {
      this.#on(this.#someone(random, 1), (life) => life.log!.transferLeadership());
    });
    this.#recurring.every(mix.churnEvery, (random) =>
      this.#on(this.#someone(random, 1), (life) => this.#churn(life, random)),
    );
  }

  end(): void {
    this.#recurring.end();
  }

  /** Calls happen in the member's own time, so not while it is paused. */
  #on(life: Life | undefined, call: (life: Life) => Promise<unknown>): void {
    const { time } = this.#o;
    if (life === undefined) return;
    time.after(0, life, () => {
      call(life).catch(() => {});
    });
  }

  #someone(random: Random, wantsLeader: number): Life | undefined {
    const open = [...this.#o.members.values()].flatMap((m) => (m.alive && m.life!.log !== null ? [m.life!] : []));
    const leaders = open.filter((life) => life.core?.role === "leader");
    const from = chance(random, wantsLeader) && leaders.length > 0 ? leaders : open;
    return from.length === 0 ? undefined : pick(random, from);
  }

  /** Resolves with the index, or null when it was not acknowledged. */
  propose(life: Life, random: Random): Promise<number | null> {
    const { checks, mix, time } = this.#o;
    const operation = ++this.#operations;
    const data = Buffer.alloc(4 + random.int(mix.largestProposal), operation);
    data.writeUInt32BE(operation);
    const answer = Promise.withResolvers<number | null>();
    time.after(0, life, () => {
      life.log!.propose(data).then(
        (index) => {
          checks.acknowledge(operation, index);
          answer.resolve(index);
        },
        (error) => {
          if (error instanceof TswarmError && error.code === "not_leader") checks.refuse(operation);
          answer.resolve(null);
        },
      );
    });
    return answer.promise;
  }

  read(life: Life): Promise<boolean> {
    const { checks, time } = this.#o;
    const answer = Promise.withResolvers<boolean>();
    time.after(0, life, () => {
      const index = checks.lastAcknowledged;
      life.log!.readBarrier().then(
        () => {
          checks.passedBarrier(life, index);
          answer.resolve(true);
        },
        () => answer.resolve(false),
      );
    });
    return answer.promise;
  }

  /**
   * Up to one voter more than at first, and down again, but not below three: of two, a removed one can leave the other alone
   * for good when the news of the commit is lost, because changes count when they are applied (etcd's raft has this too).
   */
  async #churn(life: Life, random: Random): Promise<void> {
    const { mix, addMember } = this.#o;
    const voters = life.log!.status().members.filter((m) => m.voter);
    if (voters.length > Math.max(mix.members, 3)) {
      await life.log!.removeMember(pick(random, voters).raftId);
      return;
    }
    const nodeId = `joiner-${++this.#nodes}`;
    const raftId = await life.log!.addMember(nodeId, nodeId);
    addMember(raftId, nodeId, life.host!.peers());
  }
}
