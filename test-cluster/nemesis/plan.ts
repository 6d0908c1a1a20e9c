// What will be done to the nodes, drawn from a seed before anything runs. Each run draws its own mix: a fixed one finds less.
import { type Random, seededRandom } from "#base/random.ts";

export const KINDS = [
  /** SIGKILL; its agent starts another. */
  "kill-manager",
  /** Agent and manager at once; the agent is started again afterwards. */
  "kill-node",
  /** SIGTERM to the manager: hands over, ends, is started again by its agent. */
  "end-manager",
  "pause-manager",
  /** Agent and manager. */
  "pause-node",
  /** Nothing in or out. */
  "cut",
  /** What the others send gets lost. */
  "deaf",
  /** What it sends gets lost. */
  "mute",
  /** Between this node and one other only. */
  "split",
  "full-disk",
  /** Demoted, and promoted again afterwards. */
  "demote",
] as const;

export type Kind = (typeof KINDS)[number];

export type Fault = {
  readonly kind: Kind;
  /** Counted from 0 among the nodes, or whoever leads when it begins. */
  readonly node: number | "leader";
  /** For `split`: how far the other node is from this one; at least 1. */
  readonly other: number;
  /** ms after the fault before of the same lane ended. */
  readonly restsMs: number;
  readonly lastsMs: number;
};

/** Faults of a lane come one after the other; those of two lanes meet. */
export type Plan = { readonly seed: number; readonly lanes: readonly (readonly Fault[])[] };

const LANES: readonly (readonly Kind[])[] = [
  ["kill-manager", "kill-node", "end-manager", "pause-manager", "pause-node", "demote"],
  ["cut", "deaf", "mute", "split", "full-disk", "kill-manager"],
];

/** Some kinds of the lane get most of the draws. */
const mixOf = (kinds: readonly Kind[], random: Random): Kind[] =>
  kinds.flatMap((kind) => Array.from({ length: 1 + random.int(4) }, () => kind));

export const drawPlan = (seed: number, nodes: number, seconds: number): Plan => {
  const lane = (kinds: readonly Kind[], number: number): Fault[] => {
    const random = seededRandom(seed * LANES.length + number);
    const mix = mixOf(kinds, random);
    const faults: Fault[] = [];
    for (let ms = 0; ms < seconds * 1000; ) {
      const fault: Fault = {
        kind: mix[random.int(mix.length)]!,
        node: random.int(2) === 0 ? "leader" : random.int(nodes),
        other: 1 + random.int(nodes - 1),
        restsMs: 500 + random.int(4_000),
        lastsMs: random.int(4) === 0 ? 8_000 + random.int(5_000) : 500 + random.int(4_000),
      };
      faults.push(fault);
      ms += fault.restsMs + fault.lastsMs;
    }
    return faults;
  };
  return { seed, lanes: LANES.map(lane) };
};

export const describeFault = (fault: Fault, name: string): string =>
  `${fault.kind} ${fault.node === "leader" ? `leader (${name})` : name}, ${fault.lastsMs} ms`;
