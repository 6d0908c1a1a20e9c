// What happened. All of it goes into a hash (two runs of a seed must agree) as numbers; text is made only of the last events,
// or of all when somebody wants to read them.
import type { Message } from "#control-plane/raft/types.ts";

const KEPT = 128;

type Event = { readonly time: number; readonly what: string | Message };

export class Trace {
  count = 0;
  #low = 0x811c9dc5;
  #high = 0x2545f491;
  #events: Event[] = [];
  #onLine: ((line: string) => void) | null;

  /** `onLine` gets every event as text; slow. */
  constructor(onLine: ((line: string) => void) | null = null) {
    this.#onLine = onLine;
  }

  note(time: number, text: string): void {
    for (let i = 0; i < text.length; i++) this.#mix(text.charCodeAt(i));
    this.#add({ time, what: text });
  }

  message(time: number, m: Message): void {
    this.#mix(m.kind.length * 4 + m.kind.charCodeAt(0));
    this.#mix(m.from * 1000 + m.to);
    this.#mix(m.term);
    if (m.kind === "append") {
      this.#mix(m.prevIndex);
      this.#mix(m.prevTerm);
      this.#mix(m.commit * 64 + m.entries.length);
    } else if (m.kind === "append-response") {
      this.#mix(m.reject ? -m.index : m.index);
      this.#mix(m.hintIndex);
    }
    this.#add({ time, what: m });
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193);
    this.#high = Math.imul(this.#high + value, 0x85ebca6b) ^ (this.#low >>> 15);
  }

  #add(event: Event): void {
    this.#mix((event.time * 1000) | 0);
    this.#events[this.count++ % KEPT] = event;
    this.#onLine?.(lineOf(event));
  }

  last(count: number): string[] {
    const events: Event[] = [];
    for (let i = Math.max(0, this.count - Math.min(count, KEPT)); i < this.count; i++)
      events.push(this.#events[i % KEPT]!);
    return events.map(lineOf);
  }

  digest(): string {
    const hex = (value: number) => (value >>> 0).toString(16).padStart(8, "0");
    return hex(this.#high) + hex(this.#low);
  }
}

const lineOf = ({ time, what }: Event): string =>
  `${time.toFixed(2)} ${typeof what === "string" ? what : describeMessage(what)}`;

const describeMessage = (m: Message): string => {
  const head = `${m.from}>${m.to} ${m.kind} t${m.term}`;
  switch (m.kind) {
    case "append": {
      const entries = m.entries.map((e) => `${e.index}:${e.term}`).join(" ");
      return `${head} after ${m.prevIndex}:${m.prevTerm} commit ${m.commit} [${entries}]`;
    }
    case "append-response":
      return `${head} ${m.reject ? `reject ${m.index} hint ${m.hintIndex}:${m.hintTerm}` : `i${m.index}`}`;
    case "vote":
    case "pre-vote":
      return `${head} last ${m.lastIndex}:${m.lastTerm}${m.transfer ? " transfer" : ""}`;
    case "vote-response":
    case "pre-vote-response":
      return `${head} ${m.reject ? "no" : "yes"}`;
    case "heartbeat":
      return `${head} commit ${m.commit} round ${m.round}`;
    case "heartbeat-response":
      return `${head} round ${m.round}`;
    case "read-index":
      return `${head} ${m.context}`;
    case "read-index-response":
      return `${head} ${m.context} i${m.index}`;
    default:
      return head;
  }
};
