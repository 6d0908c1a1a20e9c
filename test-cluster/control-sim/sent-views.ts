// Each session's view as its manager has sent it, against the view computed from scratch from that manager's state.
import { crc32 } from "node:zlib";
import { nodeView } from "#control-plane/node-view/node-view.ts";
import type { View } from "#node-agent/session/view.ts";
import { Assignment, Assignments_Kind, ManagerMessage } from "#proto/gen/dispatcher.ts";
import type { ServerEnd } from "#test-cluster/control-sim/grpc.ts";
import type { ManagerLife } from "#test-cluster/control-sim/manager.ts";
import type { World } from "#test-cluster/control-sim/world.ts";

/** What a manager has gathered is sent by then, ms: the dispatcher gathers for 10. */
const SENT_AFTER_MS = 30;

type Sent = {
  readonly life: ManagerLife;
  readonly nodeId: string;
  sequence: number;
  items: Map<string, string>;
  /** Checksum of each item. */
  sums: Map<string, number>;
};

const textOf = (item: Assignment): string => Buffer.from(Assignment.encode(item).finish()).toString("latin1");
const sumOf = (key: string, text: string): number => crc32(text, crc32(key));
/** Of a whole view, in any order. */
const total = (sums: Iterable<number>): number => {
  let sum = 0;
  for (const one of sums) sum = (sum + one) >>> 0;
  return sum;
};

/** What the dispatcher adds on its own: docs/design/networking.md. */
const isOwnWord = (key: string): boolean => key.startsWith("drained/");

export class SentViews {
  readonly #world: World;
  readonly #lifeOf: (end: ServerEnd) => ManagerLife | undefined;
  readonly #sent = new Map<ServerEnd, Sent>();
  /** All that was ever sent: node, sequence, checksum. */
  readonly #versions = new Set<string>();
  readonly #sums = new WeakMap<Assignment, number>();
  /** Of the last entry that was applied, by life. */
  readonly #appliedAt = new WeakMap<ManagerLife, number>();

  constructor(world: World, lifeOf: (end: ServerEnd) => ManagerLife | undefined) {
    this.#world = world;
    this.#lifeOf = lifeOf;
  }

  applied(life: ManagerLife): void {
    this.#appliedAt.set(life, this.#world.time.now);
  }

  /** A manager sends a message of a session. */
  message(end: ServerEnd, bytes: Buffer): void {
    const { message } = ManagerMessage.decode(bytes);
    if (message?.$case !== "assignments") return;
    const { kind, put, remove, appliesTo, sequence } = message.value;
    const life = this.#lifeOf(end);
    if (life === undefined) return;
    const known = this.#sent.get(end) ?? {
      life,
      nodeId: end.caller.peer!.nodeId,
      sequence: 0,
      items: new Map(),
      sums: new Map(),
    };
    if (kind === Assignments_Kind.COMPLETE) {
      known.items = new Map();
      known.sums = new Map();
    } else if (appliesTo !== known.sequence || sequence !== appliesTo + 1)
      this.#world.violate(
        "views are sent without a gap",
        `${known.nodeId}: ${sequence} on ${appliesTo}, at ${known.sequence}`,
      );
    known.sequence = sequence;
    for (const key of remove) {
      known.items.delete(key);
      known.sums.delete(key);
    }
    for (const item of put) {
      const text = textOf(item);
      known.items.set(item.key, text);
      known.sums.set(item.key, sumOf(item.key, text));
    }
    this.#versions.add(`${known.nodeId} ${sequence} ${total(known.sums.values())}`);
    this.#sent.set(end, known);
  }

  /** An agent has taken a message: its view is now as some manager has sent it. */
  taken(nodeId: string, { items, sequence }: Pick<View, "items" | "sequence">): void {
    const sums = [...items].map(([key, item]) => {
      const sum = this.#sums.get(item) ?? sumOf(key, textOf(item));
      this.#sums.set(item, sum);
      return sum;
    });
    if (!this.#versions.has(`${nodeId} ${sequence} ${total(sums)}`))
      this.#world.violate("an agent has the view that it was sent", `${nodeId} at ${sequence}`);
  }

  /** Compares all sessions that must be current now. Returns how many. */
  check(): number {
    const { time } = this.#world;
    let compared = 0;
    for (const [end, sent] of this.#sent) {
      const { life, nodeId, items } = sent;
      if (end.destroyed || end.writableEnded || life.actor.dead) {
        this.#sent.delete(end);
        continue;
      }
      const busyUntil = Math.max(this.#appliedAt.get(life) ?? 0, life.actor.pausedUntil) + SENT_AFTER_MS;
      if (busyUntil > time.now || life.leadership?.leading() !== true) continue;
      compared++;
      const { state } = life.replicated;
      const wanted = nodeView(state, nodeId);
      const wrong: string[] = [];
      for (const [key, item] of wanted)
        if (items.get(key) !== textOf(item)) wrong.push(`${key} ${items.has(key) ? "differs" : "is missing"}`);
      for (const key of items.keys()) if (!wanted.has(key) && !isOwnWord(key)) wrong.push(`${key} is too much`);
      if (wrong.length > 0)
        this.#world.violate(
          "a node is sent nodeView(state, node)",
          `${nodeId} by ${life.actor.name}: ${wrong.slice(0, 3).join(", ")}`,
        );
    }
    return compared;
  }
}
