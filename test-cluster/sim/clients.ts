// Who uses the cluster. Some clients ask one thing after the other, through any member, and their history is checked at the end;
// besides, bursts of filler make the log long.
import { TswarmError } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { type Command, encodeCommand } from "#test-cluster/sim/commands.ts";
import { chance, exponential, fork, pick } from "#test-cluster/sim/draw.ts";
import type { FaultMix } from "#test-cluster/sim/fault-mix.ts";
import type { Ending, Histories } from "#test-cluster/sim/histories.ts";
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
  readonly histories: Histories;
};

/** `seen`: the last value of each register. `open`: members that owe it an answer to a change; it asks them for no other. */
type Client = {
  readonly number: number;
  readonly random: Random;
  readonly seen: number[];
  readonly open: Set<Life>;
};

const REGISTERS = 3;
const LISTS = 2;

export class Clients {
  #o: ClientsOptions;
  #operations = 0;
  #over = false;
  #recurring: Recurring;

  constructor(options: ClientsOptions) {
    this.#o = options;
    const { mix, time, random } = options;
    this.#recurring = recurring(time, random);
    this.#recurring.every(mix.fillerEvery, (draw) => {
      const life = this.#someone(draw, 0.9);
      for (let i = 1 + draw.int(mix.burst); i > 0 && life !== undefined; i--) void this.propose(life, draw);
    });
    for (let number = 1; number <= mix.clients; number++)
      this.#think({ number, random: fork(random), seen: [], open: new Set() });
  }

  end(): void {
    this.#over = true;
    this.#recurring.end();
  }

  #someone(random: Random, wantsLeader: number, but?: ReadonlySet<Life>): Life | undefined {
    const open: Life[] = [];
    let leaders = 0;
    for (const { life } of this.#o.members.values()) {
      if (life === null || life.dead || life.log === null || but?.has(life)) continue;
      // Leaders first, so that one can be picked without a second list.
      if (life.core?.role === "leader") open.splice(leaders++, 0, life);
      else open.push(life);
    }
    if (open.length === 0) return undefined;
    return open[random.int(leaders > 0 && chance(random, wantsLeader) ? leaders : open.length)];
  }

  #think(client: Client): void {
    const { time, mix } = this.#o;
    time.after(exponential(client.random, mix.thinkMs), time.world, () => {
      if (!this.#over) this.#act(client);
    });
  }

  #act(client: Client): void {
    const { random } = client;
    const { histories } = this.#o;
    const kind = pick(random, ["read", "read", "write", "cas", "cas", "append", "list"] as const);
    const reads = kind === "read" || kind === "list";
    const life = this.#someone(random, reads ? 0.3 : 0.8, reads ? undefined : client.open);
    if (life === undefined) {
      this.#think(client);
      return;
    }
    const key = random.int(kind === "append" || kind === "list" ? LISTS : REGISTERS);
    const id = reads ? 0 : ++this.#operations;
    switch (kind) {
      case "read":
        this.#wait(client, this.read(life), histories.register(client.number, key, id, { op: "read" }), () => {
          const value = life.state.register(key);
          client.seen[key] = value;
          return value === 0 ? null : value;
        });
        return;
      case "list":
        this.#wait(client, this.read(life), histories.list(client.number, key, id, { op: "read" }), () => [
          ...life.state.list(key),
        ]);
        return;
      case "append": {
        const ending = histories.list(client.number, key, id, { op: "append", value: id });
        this.#wait(client, this.#change(client, life, id, { kind, key, value: id }), ending, () => null);
        return;
      }
      case "write": {
        const ending = histories.register(client.number, key, id, { op: "write", value: id });
        this.#wait(client, this.#change(client, life, id, { kind, key, value: id }), ending, () => null);
        client.seen[key] = id;
        return;
      }
      case "cas": {
        const from = client.seen[key] ?? 0;
        const input = { op: "cas", from: from === 0 ? null : from, to: id } as const;
        const ending = histories.register(client.number, key, id, input);
        this.#wait(client, this.#change(client, life, id, { kind, key, from, to: id }), ending, () => {
          const done = life.state.wasDone(id) === true;
          if (done) client.seen[key] = id;
          return done;
        });
      }
    }
  }

  async #change(client: Client, life: Life, id: number, command: Command): Promise<"done" | "refused" | "unknown"> {
    client.open.add(life);
    const how = await this.#command(life, client.random, id, command);
    client.open.delete(life);
    return how;
  }

  /** Goes on when the answer is there, or when the client's patience ends: then the outcome stays unknown. */
  #wait<O>(client: Client, call: Promise<"done" | "refused" | "unknown">, ending: Ending<O>, output: () => O): void {
    const { time, mix } = this.#o;
    let waiting = true;
    const next = () => {
      waiting = false;
      this.#think(client);
    };
    const giveUp = time.after(mix.patienceMs, time.world, next);
    void call.then((how) => {
      if (!waiting) return;
      giveUp();
      if (how === "done") ending.returned(output());
      if (how === "refused") ending.refused();
      next();
    });
  }

  #command(life: Life, random: Random, operation: number, command: Command): Promise<"done" | "refused" | "unknown"> {
    const { checks, mix, time } = this.#o;
    const data = encodeCommand(operation, command, random.int(command.kind === "filler" ? mix.largestFiller : 20));
    return new Promise((resolve) => {
      // Calls happen in the member's own time, so not while it is paused.
      time.as(life, () => {
        life.log!.propose(data).then(
          (index) => {
            checks.acknowledge(operation, index);
            resolve("done");
          },
          (error) => {
            const refused = error instanceof TswarmError && error.code !== "unknown_outcome";
            if (refused) checks.refuse(operation);
            resolve(refused ? "refused" : "unknown");
          },
        );
      });
    });
  }

  /** Filler. Resolves with whether it was acknowledged. */
  async propose(life: Life, random: Random): Promise<boolean> {
    return (await this.#command(life, random, ++this.#operations, { kind: "filler" })) === "done";
  }

  /** A barrier. Whoever passed it may read the member's state right away. */
  read(life: Life): Promise<"done" | "refused" | "unknown"> {
    const { checks, time } = this.#o;
    return new Promise((resolve) => {
      time.as(life, () => {
        const index = checks.lastAcknowledged;
        life.log!.readBarrier().then(
          () => {
            checks.passedBarrier(life, index);
            resolve("done");
          },
          () => resolve("refused"),
        );
      });
    });
  }
}
