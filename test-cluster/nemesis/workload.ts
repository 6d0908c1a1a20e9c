// Clients that change registers and lists through the Control API of all nodes, and write down what they were told. A key is a
// network that is only a template, and its label is the value; the version that a write names makes it a compare-and-set.
import type { Client } from "@grpc/grpc-js";
import { TswarmError } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { type Network, NetworkSpec } from "#proto/gen/types.ts";
import { createClient, openChannel, type RpcClient } from "#proto/rpc/client.ts";
import type { Operation } from "#test-cluster/linearizability/model.ts";
import type { AppendInput, AppendOutput, RegisterInput, RegisterOutput } from "#test-cluster/linearizability/models.ts";
import type { TestCluster } from "#test-cluster/netns/cluster.ts";
import { sleep } from "#test-cluster/netns/system.ts";

type Control = RpcClient<ControlDefinition>;

/** Answers that say that nothing was done. After all others a write may have happened. */
const CERTAIN = new Set([
  "stale_version",
  "not_leader",
  "invalid",
  "not_found",
  "name_conflict",
  "conflict",
  "forbidden",
]);
/** A call that takes so long was forgotten by somebody. */
const DEADLINE_MS = 60_000;
/** Lists are read whole, and a search through a history of many calls on one key is long: then new keys are taken. */
const EPOCH_MS = 20_000;
const REGISTERS = 3;
const LISTS = 2;
const LABEL = "value";

export type Call = {
  readonly what: string;
  readonly node: string;
  readonly from: number;
  readonly to: number;
  /** "ok" or the code of the error. */
  readonly outcome: string;
  readonly message: string;
};

/** An acknowledged write: the object has had this version. */
export type Written = { readonly id: string; readonly version: number; readonly at: number };

export type Workload = {
  readonly registers: Operation<RegisterInput, RegisterOutput>[];
  readonly lists: Operation<AppendInput, AppendOutput>[];
  readonly calls: Call[];
  readonly written: Written[];
  /** Lets every client end its call; then all keys are read through every node. */
  stop(): Promise<void>;
};

const now = (): number => performance.now();

const registerOf = (network: Network): string | null => network.spec?.annotations?.labels[LABEL] ?? null;
const listOf = (network: Network): string[] => registerOf(network)?.split(" ") ?? [];

const withValue = (network: Network, value: string): NetworkSpec => ({
  ...network.spec!,
  annotations: { ...network.spec!.annotations!, labels: { [LABEL]: value } },
});

export const startWorkload = (cluster: TestCluster, clients: number, random: Random): Workload => {
  const channels: Client[] = [];
  const controls = cluster.layout.nodes.map((node): { name: string; control: Control } => {
    const channel = openChannel(`unix:${node.socket}`);
    channels.push(channel);
    return { name: node.name, control: createClient(ControlDefinition, channel) };
  });
  const registers: Operation<RegisterInput, RegisterOutput>[] = [];
  const lists: Operation<AppendInput, AppendOutput>[] = [];
  const calls: Call[] = [];
  const written: Written[] = [];
  /** Names of networks that exist. */
  const keys = new Map<string, "register" | "list">();
  let current: string[] = [];
  let stopped = false;
  let unique = 0;

  /** Throws what the call threw. */
  const ask = async <T>(what: string, node: string, call: (control: Control) => Promise<T>): Promise<T> => {
    const from = now();
    const told = (outcome: string, message: string) => calls.push({ what, node, from, to: now(), outcome, message });
    try {
      const value = await call(controls.find((c) => c.name === node)!.control);
      told("ok", "");
      return value;
    } catch (error) {
      const { code, message } = TswarmError.from(error);
      told(code, message);
      throw error;
    }
  };
  const anyNode = (): string => controls[random.int(controls.length)]!.name;
  /** Each client stays with a node: those of a node that is cut off wait, the others go on. */
  const nodeOf = (client: number): string => controls[client % controls.length]!.name;

  const get = async (key: string, node: string): Promise<Network> =>
    (await ask("read", node, (c) => c.getNetwork({ ref: key }, { deadlineMs: DEADLINE_MS }))).view!.network!;

  /** Whether the write was done; undefined: nobody knows. */
  const put = async (network: Network, value: string, node: string): Promise<boolean | undefined> => {
    const request = {
      id: network.id,
      version: network.meta!.version,
      spec: withValue(network, value),
      rollback: false,
    };
    try {
      const after = await ask("write", node, (c) => c.updateNetwork(request, { deadlineMs: DEADLINE_MS }));
      written.push({ id: network.id, version: after.network!.meta!.version, at: now() });
      return true;
    } catch (error) {
      return CERTAIN.has(TswarmError.from(error).code) ? false : undefined;
    }
  };

  const read = async (client: number, key: string, node: string): Promise<Network> => {
    const invoked = now();
    const network = await get(key, node);
    const at = now();
    const operation = { client, key, input: { op: "read" }, invoked } as const;
    if (keys.get(key) === "list")
      lists.push({ ...operation, outcome: { kind: "returned", at, output: listOf(network) } });
    else registers.push({ ...operation, outcome: { kind: "returned", at, output: registerOf(network) } });
    return network;
  };

  /** Values are unique, so a register that still has the value has still the version. */
  const compareAndSet = async (client: number, key: string): Promise<void> => {
    const network = await read(client, key, nodeOf(client));
    const to = `${++unique}`;
    const invoked = now();
    const done = await put(network, to, nodeOf(client));
    // A refused one was not done: it says nothing.
    if (done === false) return;
    const input = { op: "cas", from: registerOf(network), to } as const;
    const outcome = done ? ({ kind: "returned", at: now(), output: true } as const) : ({ kind: "unknown" } as const);
    registers.push({ client, key, input, invoked, outcome });
  };

  /** Reads and writes until nobody came between. */
  const append = async (client: number, key: string): Promise<void> => {
    const value = `${++unique}`;
    const invoked = now();
    for (let tries = 0; tries < 20 && !stopped; tries++) {
      const network = await get(key, nodeOf(client));
      const done = await put(network, [...listOf(network), value].join(" "), nodeOf(client));
      if (done === false) continue;
      const outcome = done ? ({ kind: "returned", at: now(), output: null } as const) : ({ kind: "unknown" } as const);
      lists.push({ client, key, input: { op: "append", value }, invoked, outcome });
      return;
    }
  };

  const spec = (name: string): NetworkSpec => NetworkSpec.fromPartial({ annotations: { name }, configOnly: true });

  const create = async (name: string): Promise<void> => {
    while (!stopped) {
      try {
        await ask("create", anyNode(), (c) => c.createNetwork({ spec: spec(name) }, { deadlineMs: DEADLINE_MS }));
        return;
      } catch (error) {
        // An attempt of unknown outcome may have been the one that made it.
        const { code } = TswarmError.from(error);
        if (code === "name_conflict") return;
        if (code === "invalid") throw error;
        await sleep(200);
      }
    }
  };

  const newKeys = async (): Promise<void> => {
    for (let epoch = 0; !stopped; epoch++) {
      const kinds = Array.from({ length: REGISTERS + LISTS }, (_, i) => (i < REGISTERS ? "register" : "list"));
      const names = kinds.map((kind, i) => [`${kind}-${epoch}-${i}`, kind] as const);
      for (const [name] of names) await create(name);
      if (stopped) return;
      for (const [name, kind] of names) keys.set(name, kind);
      current = names.map(([name]) => name);
      for (const end = now() + EPOCH_MS; now() < end && !stopped; ) await sleep(100);
    }
  };

  const work = async (client: number): Promise<void> => {
    for (; !stopped; await sleep(random.int(40))) {
      const key = current[random.int(Math.max(1, current.length))];
      if (key === undefined) continue;
      try {
        if (random.int(3) === 0) await read(client, key, nodeOf(client));
        else if (keys.get(key) === "list") await append(client, key);
        else await compareAndSet(client, key);
      } catch (error) {
        if (!(error instanceof TswarmError)) throw error;
        // A read that failed says nothing.
        await sleep(50);
      }
    }
  };

  const all = [newKeys(), ...Array.from({ length: clients }, (_, i) => work(i))];
  return {
    registers,
    lists,
    calls,
    written,
    async stop() {
      stopped = true;
      await Promise.all(all);
      for (const key of keys.keys()) for (const { name } of controls) await read(-1, key, name);
      for (const channel of channels) channel.close();
    },
  };
};
