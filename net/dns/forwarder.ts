// Names from outside, asked of the host's resolvers for all containers of the node: one cache, a bounded number in flight,
// the same question asked once at a time.
import type { Clock } from "#base/clock.ts";
import { AnswerCache } from "./cache.ts";
import { type Query, RCODE, response, upstreamQuery } from "./packet.ts";
import type { Upstream } from "./resolv-conf.ts";
import { UpstreamServer } from "./upstream.ts";
import { isTruncated, lifetimesOf, readdressed, responseCode } from "./wire.ts";

export const MAX_IN_FLIGHT = 1024;
const ROUNDS = 2;

export type ForwarderOptions = {
  readonly upstreams: readonly Upstream[];
  readonly clock: Clock;
  /** Per attempt; every resolver is tried twice. */
  readonly timeoutMs: number;
};

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #servers: readonly UpstreamServer[];
  readonly #cache = new AnswerCache();
  readonly #inFlight = new Map<string, Promise<Buffer | undefined>>();

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#servers = options.upstreams.map((u) => new UpstreamServer(u, options.clock));
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** A complete answer for this asker, whatever its size; SERVFAIL when no resolver answers or too much is in flight. */
  async ask(query: Query): Promise<Buffer> {
    const { question } = query;
    const name = Buffer.from(question).toString("latin1").toLowerCase();
    const key = `${Number(query.edns)}${Number(query.dnssecOk)}${name}`;
    const cached = this.#cache.find(key, query.id, question, this.#options.clock.monotonic());
    if (cached !== undefined) return cached;
    let asking = this.#inFlight.get(key);
    if (asking === undefined) {
      if (this.#inFlight.size >= MAX_IN_FLIGHT) return response(query, RCODE.SERVFAIL, [], false);
      asking = this.#askUpstreams(query, key).finally(() => this.#inFlight.delete(key));
      this.#inFlight.set(key, asking);
    }
    const answer = await asking;
    return answer === undefined
      ? response(query, RCODE.SERVFAIL, [], false)
      : readdressed(answer, query.id, question, [], 0);
  }

  async #askUpstreams(query: Query, key: string): Promise<Buffer | undefined> {
    const { timeoutMs, clock } = this.#options;
    const build = (id: number) => upstreamQuery(query, id);
    let refusal: Buffer | undefined;
    for (let round = 0; round < ROUNDS; round++) {
      for (const server of this.#servers) {
        let answer = await server.askUdp(build, timeoutMs);
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

  close(): void {
    for (const server of this.#servers) server.close();
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
