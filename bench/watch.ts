// One change for many watchers: 1,000 Control.Watch streams of real clients on 20 connections to one process with the real
// state. Milliseconds from the commit until the first and the last of them has the event, and the server's CPU time.
//   node bench/watch.ts [watchers = 1000] [changes = 20]
import { fork } from "node:child_process";
import { once } from "node:events";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { watchState } from "#control-plane/api/watch.ts";
import { createState } from "#control-plane/state/state.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { Task } from "#proto/gen/types.ts";
import { createClient, openChannel } from "#proto/rpc/client.ts";
import { addService, type Handlers } from "#proto/rpc/server.ts";
import { sleep } from "#test-cluster/netns/system.ts";
import { tell } from "./measure/figures.ts";
import { inSandbox } from "./measure/sandbox.ts";

const CONNECTIONS = 20;
const BURST = 100;

/** The same clock in all processes (CLOCK_MONOTONIC), in ms. */
const now = (): number => Number(process.hrtime.bigint()) / 1e6;

const serve = async (address: string): Promise<void> => {
  const state = createState();
  const server = new Server();
  const handlers: Pick<Handlers<ControlDefinition>, "watch"> = {
    watch: (request, context) => watchState(state, request, context),
  };
  addService(server, ControlDefinition, handlers as Handlers<ControlDefinition>);
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve())),
  );
  const change = (): void => {
    const tx = state.begin();
    const old = tx.get("task", "t") ?? Task.fromPartial({ id: "t", serviceId: "s" });
    tx.put("task", { ...old, slot: old.slot + 1 });
    state.apply(state.index + 1, { id: `c${state.index}`, time: 1, changes: tx.changes() });
  };
  process.on("message", (changes: number) => {
    const at = now();
    for (let i = 0; i < changes; i++) change();
    const { user, system } = process.cpuUsage();
    process.send!({ at, cpuMicros: user + system });
  });
  process.once("disconnect", () => process.exit(0));
  process.send!("up");
};

const bench = (): Promise<never> =>
  inSandbox(async ({ dir, children }) => {
    const [watchers, changes] = [Number(process.argv[2] ?? 1000), Number(process.argv[3] ?? 20)];
    const address = `unix:${dir}/control.sock`;
    const child = fork(import.meta.filename, ["serve", address]);
    children.push(child);
    await once(child, "message");

    let arrivals: number[] = [];
    let missing = 0;
    let all = (): void => {};
    let ready = 0;
    /** A stream that ends early would be waited for forever. */
    const broken = Promise.withResolvers<never>();
    broken.promise.catch(() => {});
    const watch = async (client: ReturnType<typeof createClient<ControlDefinition>>): Promise<void> => {
      for await (const { events } of client.watch({
        selectors: [{ table: "task", id: "t", serviceId: "", nodeId: "" }],
      })) {
        if (events.length === 0) ready++;
        for (const _ of events) {
          arrivals.push(now());
          if (--missing === 0) all();
        }
      }
      throw new Error("a watch stream ended");
    };
    for (let i = 0; i < CONNECTIONS; i++) {
      // Channels to one address share a connection unless they are told not to.
      const channel = openChannel(address, undefined, { "grpc.use_local_subchannel_pool": 1 });
      const client = createClient(ControlDefinition, channel);
      for (let j = i; j < watchers; j += CONNECTIONS) watch(client).catch(broken.reject);
    }
    while (ready < watchers) await Promise.race([sleep(10), broken.promise]);

    const round = async (count: number): Promise<{ first: number; last: number; cpu: number }> => {
      arrivals = [];
      missing = count * watchers;
      const arrived = new Promise<void>((resolve) => {
        all = resolve;
      });
      const ask = async (n: number): Promise<{ at: number; cpuMicros: number }> => {
        const answer = once(child, "message");
        child.send(n);
        return (await answer)[0];
      };
      const { cpuMicros: before } = await ask(0);
      const { at } = await ask(count);
      await Promise.race([arrived, broken.promise]);
      const { cpuMicros: after } = await ask(0);
      return { first: arrivals[0]! - at, last: arrivals.at(-1)! - at, cpu: (after - before) / (count * watchers) };
    };
    for (let i = 0; i < 5; i++) await round(1);
    const single = [];
    for (let i = 0; i < changes; i++) single.push(await round(1));
    const bursts = [];
    for (let i = 0; i < 3; i++) bursts.push(await round(BURST));
    tell(
      `one change, ${watchers} watchers: the first has it`,
      single.map((r) => r.first),
      "ms",
    );
    tell(
      "  the last has it",
      single.map((r) => r.last),
      "ms",
    );
    tell(
      "  server CPU an event of a watcher",
      single.map((r) => r.cpu),
      "µs",
      0,
    );
    tell(
      `${BURST} changes at once: events delivered`,
      bursts.map((r) => (BURST * watchers) / (r.last / 1000)),
      "/s",
      0,
    );
    tell(
      "  server CPU an event of a watcher",
      bursts.map((r) => r.cpu),
      "µs",
      0,
    );
  });

if (process.argv[2] === "serve") await serve(process.argv[3]!);
else await bench();
