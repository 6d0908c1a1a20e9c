// The fault mix of one run, itself drawn from the seed ("swarm testing"): a fixed mix hides what only shows when a fault is
// rare, strong or absent.
import type { Random } from "#base/random.ts";
import type { RaftConfig } from "#control-plane/raft/core.ts";
import { between, chance, pick } from "#test-cluster/sim/draw.ts";

export type FaultMix = {
  readonly members: number;
  /** The first start of some members is interrupted. */
  readonly crashAtStart: boolean;
  readonly tickMs: number;
  readonly electionTicks: number;
  readonly dropRate: number;
  readonly duplicateRate: number;
  readonly delayMs: number;
  /** Share of messages that come much later, and by how much at most. */
  readonly lateRate: number;
  readonly lateMs: number;
  /** Messages of one batch travel apart and may overtake each other. */
  readonly split: boolean;
  /** Mean ms between two; 0: never. */
  readonly partitionEvery: number;
  /** Connections with a living member break. */
  readonly hangUpEvery: number;
  readonly crashEvery: number;
  readonly pauseEvery: number;
  readonly diskFaultEvery: number;
  readonly fullEvery: number;
  readonly rotEvery: number;
  /** Another data key for a member's files. */
  readonly keyEvery: number;
  readonly clockEvery: number;
  /** How far the speed of a clock may be off. */
  readonly clockDrift: number;
  readonly transferEvery: number;
  readonly churnEvery: number;
  /** Share of faults that are aimed at the leader. */
  readonly aimAtLeader: number;
  readonly faultMs: number;
  readonly downMs: number;
  readonly syncMs: number;
  readonly slowSyncRate: number;
  readonly slowSyncMs: number;
  /** What each part of a snapshot takes to restore, at most. */
  readonly restoreMs: number;
  /** Clients that ask one thing after the other, how long they think, and wait for an answer. */
  readonly clients: number;
  readonly thinkMs: number;
  readonly patienceMs: number;
  /** Filler comes in bursts of up to this many. */
  readonly fillerEvery: number;
  readonly burst: number;
  /** Bytes of one filler. */
  readonly largestFiller: number;
  readonly snapshotEvery: number;
  readonly keepEntries: number;
  readonly segmentBytes: number;
  /** AES, not the stand-in. */
  readonly realCipher: boolean;
  /** The core's own limits, much smaller than the host's. */
  readonly limits: Partial<RaftConfig>;
};

const drawLimits = (random: Random): Partial<RaftConfig> => ({
  maxMessageBytes: pick(random, [1, 500, 5000]),
  inflight: { messages: pick(random, [1, 4, 32]), bytes: pick(random, [1000, 20_000]) },
  maxUncommittedBytes: pick(random, [2000, 50_000]),
  maxCommittedBytes: pick(random, [1, 5000]),
});

export const drawFaultMix = (random: Random): FaultMix => {
  const sometimes = (probability: number, value: () => number): number => (chance(random, probability) ? value() : 0);
  return {
    members: pick(random, [1, 3, 3, 3, 5, 5]),
    crashAtStart: chance(random, 0.1),
    tickMs: pick(random, [50, 100, 100]),
    electionTicks: 10,
    dropRate: sometimes(0.5, () => between(random, 0.01, 0.3)),
    duplicateRate: sometimes(0.5, () => between(random, 0.01, 0.3)),
    delayMs: pick(random, [0.5, 3, 20]),
    lateRate: sometimes(0.5, () => between(random, 0.01, 0.3)),
    lateMs: pick(random, [50, 400, 3000]),
    split: chance(random, 0.3),
    partitionEvery: sometimes(0.6, () => pick(random, [800, 2000, 5000])),
    hangUpEvery: sometimes(0.3, () => pick(random, [300, 3000])),
    crashEvery: sometimes(0.6, () => pick(random, [700, 2000, 6000])),
    pauseEvery: sometimes(0.3, () => pick(random, [1000, 4000])),
    diskFaultEvery: sometimes(0.15, () => 6000),
    fullEvery: sometimes(0.15, () => 6000),
    rotEvery: sometimes(0.2, () => pick(random, [2000, 10_000])),
    keyEvery: sometimes(0.2, () => 3000),
    clockEvery: sometimes(0.25, () => 5000),
    clockDrift: pick(random, [0.1, 0.5]),
    transferEvery: sometimes(0.25, () => pick(random, [700, 3000])),
    churnEvery: sometimes(0.3, () => pick(random, [700, 3000])),
    aimAtLeader: pick(random, [0, 0.3, 0.8]),
    faultMs: pick(random, [200, 1000, 4000]),
    downMs: pick(random, [20, 500, 3000]),
    syncMs: pick(random, [0.2, 2, 20]),
    slowSyncRate: sometimes(0.5, () => pick(random, [0.02, 0.2, 1])),
    slowSyncMs: pick(random, [50, 300, 2000]),
    restoreMs: pick(random, [0.1, 5, 100]),
    clients: pick(random, [1, 3, 5]),
    thinkMs: pick(random, [100, 300, 800]),
    patienceMs: pick(random, [300, 2000, 10_000]),
    fillerEvery: pick(random, [150, 500, 1500]),
    burst: pick(random, [1, 4, 12]),
    largestFiller: pick(random, [20, 200, 2000]),
    snapshotEvery: pick(random, [15, 60, 300]),
    keepEntries: pick(random, [0, 5, 50]),
    segmentBytes: pick(random, [4096, 16384, 65536]),
    realCipher: chance(random, 0.2),
    limits: chance(random, 0.5) ? {} : drawLimits(random),
  };
};
