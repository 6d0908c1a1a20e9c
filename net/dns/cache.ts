// Answers of the upstream resolvers for as long as their TTLs allow. Bounded; the least recently used goes first.
import { type Lifetimes, lifetimesOf, readdressed, responseCode } from "./wire.ts";

const MAX_BYTES = 2 * 1024 * 1024;
// What an entry takes besides its message and key, roughly.
const ENTRY_BYTES = 512;
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
  #bytes = 0;

  /** Keeps `message` if it is a success or a name error with a lifetime. Throws RangeError on a damaged message. */
  store(key: string, message: Buffer, nowMs: number): void {
    const rcode = responseCode(message);
    if (rcode !== 0 && rcode !== NXDOMAIN) return;
    const lifetimes = lifetimesOf(message);
    const seconds = Math.min(lifetimes.seconds ?? 0, MAX_SECONDS);
    if (seconds <= 0) return;
    this.#delete(key);
    // A copy: what comes from a socket may be a small part of a large buffer.
    this.#entries.set(key, {
      message: Buffer.from(message),
      lifetimes,
      storedMs: nowMs,
      untilMs: nowMs + seconds * 1000,
    });
    this.#bytes += bytesOf(key, message);
    while (this.#bytes > MAX_BYTES) this.#delete(this.#entries.keys().next().value!);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The answer with this asker's id and spelling, its TTLs reduced by the time spent here. */
  find(key: string, id: number, question: Uint8Array, nowMs: number): Buffer | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (nowMs >= entry.untilMs) {
      this.#delete(key);
      return undefined;
    }
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    const ageSeconds = Math.floor((nowMs - entry.storedMs) / 1000);
    return readdressed(entry.message, id, question, entry.lifetimes.ttls, ageSeconds);
  }

  #delete(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= bytesOf(key, entry.message);
  }
}

const bytesOf = (key: string, message: Buffer): number => key.length + message.length + ENTRY_BYTES;
