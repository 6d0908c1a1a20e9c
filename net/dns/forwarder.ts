// Names from outside: one cache, a bounded number in flight, the same question asked once at a time. One forwarder for all
// containers that use the host's resolvers, and one for each container that has resolvers of its own.
import type { Clock } from "#base/clock.ts";
import { AnswerCache } from "./cache.ts";
import { hostOutlet, type Outlet } from "./outlet.ts";
import { type Query, RCODE, response, upstreamQuery } from "./packet.ts";
import type { Upstream } from "./resolv-conf.ts";
import { UpstreamServer } from "./upstream.ts";
import { isTruncated, lifetimesOf, readdressed, responseCode } from "./wire.ts";

export const MAX_IN_FLIGHT = 1024;
const ROUNDS = 2;
/** A resolver that was silent is asked last for so long. */
const SILENT_MS = 10_000;

export type ForwarderOptions = {
  /** A function is asked before each question: what is another array than before is used from then on. */
  readonly upstreams: readonly Upstream[] | (() => readonly Upstream[]);
  readonly clock: Clock;
  /** Per attempt; every resolver is tried twice. */
  readonly timeoutMs: number;
  /** The host's namespace unless told. */
  readonly outlet?: Outlet;
};

type Resolver = { readonly server: UpstreamServer; silentUntilMs: number };

export class Forwarder {
  readonly #options: ForwarderOptions;
  #upstreams: readonly Upstream[] = [];
  #resolvers: readonly Resolver[] = [];
  #cache = new AnswerCache();
  readonly #inFlight = new Map<string, Promise<Buffer | undefined>>();

  constructor(options: ForwarderOptions) {
    this.#options = options;
  }

  #follow(): void {
    const { upstreams, clock, outlet = hostOutlet } = this.#options;
    const now = typeof upstreams === "function" ? upstreams() : upstreams;
    if (now === this.#upstreams) return;
    // What is in flight there is asked of the new ones in its next round.
    this.close();
    this.#upstreams = now;
    this.#cache = new AnswerCache();
    this.#resolvers = now.map((u) => ({ server: new UpstreamServer(u, clock, outlet), silentUntilMs: 0 }));
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** A complete answer for this asker, whatever its size; SERVFAIL when no resolver answers or too much is in flight. */
  async ask(query: Query): Promise<Buffer> {
    const { question } = query;
    const key = `${Number(query.edns)}${Number(query.dnssecOk)}${query.flags & 0xff} ${query.name} ${query.type}`;
    const cached = this.#cache.find(key, query.id, question, this.#options.clock.monotonic());
    if (cached !== undefined) return cached;
    let asking = this.#inFlight.get(key);
    if (asking === undefined) {
      if (this.#inFlight.size >= MAX_IN_FLIGHT) return response(query, RCODE.SERVFAIL);
      asking = this.#askUpstreams(query, key).finally(() => this.#inFlight.delete(key));
      this.#inFlight.set(key, asking);
    }
    const answer = await asking;
    return answer === undefined ? response(query, RCODE.SERVFAIL) : readdressed(answer, query.id, question, [], 0);
  }

  async #askUpstreams(query: Query, key: string): Promise<Buffer | undefined> {
    const { timeoutMs, clock } = this.#options;
    const build = (id: number) => upstreamQuery(query, id);
    let refusal: Buffer | undefined;
    for (let round = 0; round < ROUNDS; round++) {
      this.#follow();
      for (const resolver of this.#inOrder()) {
        const { server } = resolver;
        let answer = await server.askUdp(build, timeoutMs);
        resolver.silentUntilMs = answer === undefined ? clock.monotonic() + SILENT_MS : 0;
        if (answer !== undefined && isTruncated(answer)) answer = await server.askTcp(build, timeoutMs);
        if (answer === undefined || !isWellFormed(answer)) continue;
        if (responseCode(answer) === RCODE.SERVFAIL || responseCode(answer) === RCODE.REFUSED) {
          // Another resolver may know; if none does, this is the answer.
          refusal = answer;
          continue;
        }
        this.#cache.store(key, answer, clock.monotonic());
        return answer;
      }
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  /** As they were given; those that were silent of late after the others. */
  #inOrder(): Resolver[] {
    const now = this.#options.clock.monotonic();
    return this.#resolvers.toSorted((a, b) => Number(a.silentUntilMs > now) - Number(b.silentUntilMs > now));
  }

  close(): void {
    for (const { server } of this.#resolvers) server.close();
  }
}

const isWellFormed = (answer: Buffer): boolean => {
  try {
    lifetimesOf(answer);
    return true;
  } catch {
    return false;
  }
};
