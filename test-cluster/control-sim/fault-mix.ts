// Which faults a run has, and how often: each seed draws its own mix, because a fixed one finds far less.
import type { Random } from "#base/random.ts";
import { between, chance, pick } from "#test-cluster/sim/draw.ts";

/** `…Every`: mean time between two of them in ms, 0: never. */
export type FaultMix = {
  readonly managers: number;
  /** Hosts without a manager. */
  readonly workers: number;
  readonly heartbeatMs: number;
  readonly taskHistory: number;
  readonly snapshotEvery: number;
  readonly keepEntries: number;
  readonly syncMs: number;
  readonly managerSkewMs: number;
  readonly delayMs: number;
  readonly lateRate: number;
  readonly lateMs: number;

  readonly operationEvery: number;
  readonly watchers: number;
  readonly watcherLeavesEvery: number;

  readonly managerCrashEvery: number;
  readonly managerPauseEvery: number;
  readonly managerDownMs: number;
  /** Share of faults of managers that hit the leader. */
  readonly aimAtLeader: number;
  readonly agentCrashEvery: number;
  readonly agentPauseEvery: number;
  readonly agentDownMs: number;
  readonly powerOffEvery: number;
  readonly partitionEvery: number;
  readonly partitionMs: number;
  readonly resetEvery: number;
  /** Share of the incremental views that get lost on their way. */
  readonly lossRate: number;
  readonly clockJumpEvery: number;

  /** A node is promoted or demoted. */
  readonly roleEvery: number;

  /** How long an agent takes for one thing, ms. */
  readonly agentWorkMs: number;
  readonly slowRate: number;
  readonly slowMs: number;
  /** Share of containers that end by themselves, after so long. */
  readonly failRate: number;
  readonly failAfterMs: number;
  readonly createFails: number;
  readonly connectionsRate: number;
};

const sometimes = (random: Random, probability: number, from: number, to: number): number => {
  const value = between(random, from, to);
  return chance(random, probability) ? value : 0;
};

export const drawFaultMix = (random: Random): FaultMix => ({
  managers: pick(random, [1, 3, 3, 3, 3, 5]),
  workers: 1 + random.int(4),
  heartbeatMs: pick(random, [1_000, 1_000, 2_000, 5_000]),
  taskHistory: pick(random, [1, 2, 5]),
  snapshotEvery: pick(random, [15, 40, 100, 10_000]),
  keepEntries: pick(random, [3, 20, 500]),
  syncMs: between(random, 0.1, 8),
  managerSkewMs: pick(random, [0, 0, 100, 3_000]),
  delayMs: pick(random, [0.3, 2, 20]),
  lateRate: sometimes(random, 0.3, 0, 0.05),
  lateMs: between(random, 20, 400),

  operationEvery: between(random, 100, 1_200),
  watchers: random.int(3),
  watcherLeavesEvery: between(random, 4_000, 20_000),

  managerCrashEvery: sometimes(random, 0.5, 5_000, 30_000),
  managerPauseEvery: sometimes(random, 0.4, 5_000, 30_000),
  managerDownMs: between(random, 200, 8_000),
  aimAtLeader: pick(random, [0.2, 0.6, 0.9]),
  agentCrashEvery: sometimes(random, 0.6, 2_000, 20_000),
  agentPauseEvery: sometimes(random, 0.4, 4_000, 20_000),
  agentDownMs: between(random, 50, 10_000),
  powerOffEvery: sometimes(random, 0.3, 10_000, 40_000),
  partitionEvery: sometimes(random, 0.6, 4_000, 25_000),
  partitionMs: between(random, 300, 20_000),
  resetEvery: sometimes(random, 0.5, 1_000, 10_000),
  lossRate: sometimes(random, 0.25, 0.001, 0.05),
  clockJumpEvery: sometimes(random, 0.3, 5_000, 20_000),

  agentWorkMs: pick(random, [2, 20, 100]),
  slowRate: sometimes(random, 0.4, 0.01, 0.2),
  slowMs: between(random, 500, 6_000),
  failRate: sometimes(random, 0.6, 0.05, 0.5),
  failAfterMs: between(random, 100, 20_000),
  createFails: sometimes(random, 0.3, 0.02, 0.15),
  connectionsRate: sometimes(random, 0.5, 0.1, 0.9),
  roleEvery: sometimes(random, 0.5, 1_000, 15_000),
});
