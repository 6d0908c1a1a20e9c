// Answers of the upstream resolvers for as long as their TTLs allow. Bounded; the least recently used goes first.
import { type Lifetimes, lifetimesOf, readdressed, responseCode } from "./wire.ts";

const MAX_ENTRIES = 4096;
// A mistake upstream should not outlive an hour here.
const MAX_SECONDS = 3600;
const NXDOMAIN = 3;

type Entry = {
  readonly message: Buffer;
  readonly lifetimes: Lifetimes;
  readonly storedMs: number;
  readonly untilMs: number;
};

export class AnswerCache {
  readonly #entries = new Map<string, Entry>();

  /** Keeps `message` if it is a success or a name error with a lifetime. Throws RangeError on a damaged message. */
  store(key: string, message: Buffer, nowMs: number): void {
    const rcode = responseCode(message);
    if (rcode !== 0 && rcode !== NXDOMAIN) return;
    const lifetimes = lifetimesOf(message);
    const seconds = Math.min(lifetimes.seconds ?? 0, MAX_SECONDS);
    if (seconds <= 0) return;
    this.#entries.delete(key);
    this.#entries.set(key, { message, lifetimes, storedMs: nowMs, untilMs: nowMs + seconds * 1000 });
    if (this.#entries.size > MAX_ENTRIES) this.#entries.delete(this.#entries.keys().next().value!);
  }

  /** The answer with this asker's id and spelling, its TTLs reduced by the time spent here. */
  find(key: string, id: number, question: Uint8Array, nowMs: number): Buffer | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (nowMs >= entry.untilMs) return undefined;
    this.#entries.set(key, entry);
    const ageSeconds = Math.floor((nowMs - entry.storedMs) / 1000);
    return readdressed(entry.message, id, question, entry.lifetimes.ttls, ageSeconds);
  }
}
