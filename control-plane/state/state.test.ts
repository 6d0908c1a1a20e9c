import { expect } from "chai";
import fc from "fast-check";
import { type Change, Change_Kind, Command } from "#proto/gen/store.ts";
import { Network, Node, PortMode, PortProtocol, Service, Task, TaskState } from "#proto/gen/types.ts";
import { ADDRESS_REST_MS } from "./apply.ts";
import { hashState } from "./hash.ts";
import { MAX_PIECE } from "./snapshot.ts";
import { createState } from "./state.ts";
import { TABLE_NAMES, toStoreObject } from "./tables.ts";
import type { ReadTx, State, StateBatch, TableName, Tables, Tx } from "./types.ts";

const service = (id: string, name = id, networks: string[] = []): Service =>
  Service.fromPartial({
    id,
    spec: { annotations: { name }, task: { networks: networks.map((target) => ({ target })) } },
    vips: networks.map((networkId) => ({ networkId, ipv4: `10.0.0.${100 + id.length}` })),
  });
const published = (id: string, mode: PortMode, protocol: PortProtocol = PortProtocol.TCP): Service => ({
  ...service(id),
  ports: [{ name: "", protocol, target: 80, published: 8080, mode, hostIp: "" }],
});
const network = (id: string, vni: number): Network =>
  Network.fromPartial({
    id,
    vni,
    spec: { annotations: { name: id } },
    subnets: [{ subnet: "10.0.0.0/24", gateway: "10.0.0.1", reserved: { printer: "10.0.0.9" } }],
  });
const task = (id: string, ipv4: string, state: TaskState = TaskState.TASK_NEW): Task =>
  Task.fromPartial({
    id,
    serviceId: "s1",
    nodeId: "n1",
    status: { state },
    attachments: ipv4 === "" ? [] : [{ networkId: "net1", ipv4: `${ipv4}/24` }],
  });

let nextCommand = 0;
const commit = (state: State, write: (tx: Tx) => void, time = 1000): ReturnType<State["apply"]> => {
  const tx = state.begin();
  write(tx);
  return state.apply(state.index + 1, { id: `c${nextCommand++}`, time, changes: tx.changes() });
};
const base = (): State => {
  const state = createState();
  commit(state, (tx) => {
    tx.put("network", network("net1", 4096));
    tx.put("service", service("s1", "web", ["net1"]));
  });
  return state;
};

describe("state", () => {
  it("sets versions and times from the command", () => {
    const state = base();
    expect(state.get("service", "s1")!.meta).to.deep.equal({ version: 1, createdAt: 1000, updatedAt: 1000 });
    commit(state, (tx) => tx.put("service", { ...tx.get("service", "s1")!, specVersion: 7 }), 2000);
    expect(state.get("service", "s1")!.meta).to.deep.equal({ version: 2, createdAt: 1000, updatedAt: 2000 });
  });

  it("refuses a change that was made from an old version, and nothing of the command happens", () => {
    const state = base();
    const late = state.begin();
    late.put("service", { ...late.get("service", "s1")!, specVersion: 1 });
    late.put("task", task("t1", "10.0.0.2"));
    commit(state, (tx) => tx.put("service", { ...tx.get("service", "s1")!, specVersion: 2 }));
    const result = state.apply(3, { id: "late", time: 1, changes: late.changes() });
    expect(result).to.include({ ok: false, table: "service", id: "s1" });
    expect(state.get("task", "t1")).to.equal(undefined);
    expect(state.get("service", "s1")!.specVersion).to.equal(2);
  });

  const clashes: [string, (tx: Tx) => void, RegExp][] = [
    ["a service's name", (tx) => tx.put("service", service("s2", "web")), /service web is taken by s1/],
    ["a network's name", (tx) => tx.put("network", { ...network("net2", 1), spec: network("net1", 1).spec }), /net1/],
    ["a VNI", (tx) => tx.put("network", network("net2", 4096)), /vni 4096/],
    ["an address of a task", (tx) => tx.put("task", task("t2", "10.0.0.2")), /taken by task\/t1/],
    ["a VIP", (tx) => tx.put("task", task("t2", "10.0.0.102")), /taken by service\/s1/],
    ["the gateway", (tx) => tx.put("task", task("t2", "10.0.0.1")), /taken by gateway/],
    ["a reserved address", (tx) => tx.put("task", task("t2", "10.0.0.9")), /reserved\/printer/],
  ];
  it("lets one service have a port of the mesh, and another one as soon as that is being removed", () => {
    const state = base();
    const [{ INGRESS, HOST }, { TCP, UDP }] = [PortMode, PortProtocol];
    commit(state, (tx) => tx.put("service", published("a", INGRESS)));
    commit(state, (tx) => tx.put("service", published("b", INGRESS, UDP)));
    commit(state, (tx) => tx.put("service", published("c", HOST)));
    expect(commit(state, (tx) => tx.put("service", published("d", INGRESS)))).to.include({ ok: false, id: "d" });
    expect(state.serviceByPort(TCP, 8080)!.id).to.equal("a");
    expect(state.publishedServices().map((s) => s.id)).to.deep.equal(["a", "b"]);
    commit(state, (tx) => {
      tx.put("service", { ...tx.get("service", "a")!, pendingDelete: true });
      expect(tx.serviceByPort(TCP, 8080)).to.equal(undefined);
      expect(tx.publishedServices().map((s) => s.id)).to.deep.equal(["b"]);
    });
    expect(commit(state, (tx) => tx.put("service", published("d", INGRESS)))).to.deep.equal({ ok: true });
  });

  it("has at most one network of published ports", () => {
    const state = base();
    const ingress = (id: string, vni: number): Network => {
      const plain = network(id, vni);
      return { ...plain, spec: { ...plain.spec!, ingress: true } };
    };
    expect(state.ingressNetwork()).to.equal(undefined);
    commit(state, (tx) => tx.put("network", ingress("in1", 5000)));
    expect(state.ingressNetwork()!.id).to.equal("in1");
    expect(commit(state, (tx) => tx.put("network", ingress("in2", 5001)))).to.include({ ok: false, id: "in2" });
  });

  for (const [what, write, reason] of clashes)
    it(`refuses a second holder of ${what}`, () => {
      const state = base();
      commit(state, (tx) => tx.put("task", task("t1", "10.0.0.2")));
      const before = hashState(state);
      const result = commit(state, write);
      expect(result.ok).to.equal(false);
      expect(result.ok === false && result.reason).to.match(reason);
      expect(hashState(state)).to.equal(before);
    });

  it("refuses the second of two creators", () => {
    const state = base();
    const result = commit(state, (tx) => tx.put("service", Service.fromPartial({ id: "s1" })));
    expect(result).to.include({ ok: false, reason: "it exists already (version 1)" });
  });

  it("lets names change hands within one command", () => {
    const state = base();
    const rename = (s: Service, name: string): Service => ({
      ...s,
      spec: { ...s.spec!, annotations: { name, labels: {} } },
    });
    commit(state, (tx) => tx.put("service", service("s22", "db")));
    const result = commit(state, (tx) => {
      tx.put("service", rename(tx.get("service", "s1")!, "db"));
      tx.put("service", rename(tx.get("service", "s22")!, "web"));
    });
    expect(result.ok).to.equal(true);
    expect([state.serviceByName("db")!.id, state.serviceByName("web")!.id]).to.deep.equal(["s1", "s22"]);
  });

  it("applies a repeated command once, also after a snapshot", () => {
    const state = createState();
    const command = Command.fromPartial({
      id: "same",
      changes: [{ kind: Change_Kind.DELETE, table: "service", id: "s1", ifVersion: 1 }],
    });
    const tx = state.begin();
    tx.put("service", service("s1"));
    const create = { id: "create", time: 1, changes: tx.changes() };
    expect(state.apply(1, create).ok && state.apply(2, command).ok).to.equal(true);
    const copy = createState();
    copy.restore(2, [...state.snapshot()]);
    for (const s of [state, copy]) {
      expect(s.apply(3, create).ok).to.equal(true);
      expect(s.count("service")).to.equal(0);
    }
  });

  it("lets a released address rest, whoever released it", () => {
    const state = base();
    commit(state, (tx) => {
      tx.put("task", task("t1", "10.0.0.2"));
      tx.put("task", task("t2", "10.0.0.3"));
    });
    commit(
      state,
      (tx) => {
        tx.put("task", { ...tx.get("task", "t1")!, status: task("", "", TaskState.TASK_FAILED).status });
        tx.delete("task", "t2");
        expect(tx.addressHolder("net1", "10.0.0.2")).to.equal("lease/net1/10.0.0.2");
      },
      5000,
    );
    for (const address of ["10.0.0.2", "10.0.0.3"]) {
      expect(state.addressHolder("net1", address)).to.equal(`lease/net1/${address}`);
      expect(state.get("lease", `net1/${address}`)!.freeAfter).to.equal(5000 + ADDRESS_REST_MS);
    }
    commit(state, (tx) => tx.delete("lease", "net1/10.0.0.2"));
    expect(state.addressHolder("net1", "10.0.0.2")).to.equal(undefined);
  });

  it("tells watchers one batch for each command, with what was before", () => {
    const state = base();
    const batches: StateBatch[] = [];
    const stop = state.watch((b) => batches.push(b));
    commit(state, (tx) => {
      tx.put("task", task("t1", "10.0.0.2"));
      tx.delete("service", "s1");
    });
    stop();
    commit(state, (tx) => tx.delete("task", "t1"));
    expect(batches).to.have.length(1);
    expect(batches[0]!.events.map((e) => `${e.action} ${e.object.id} ${e.previous?.id}`)).to.deep.equal([
      "create t1 undefined",
      "remove s1 s1",
      "create net1/10.0.0.102 undefined",
    ]);
  });

  it("cuts big snapshots into pieces of at most 1 MiB and refuses damaged ones", () => {
    const state = createState();
    for (let i = 0; i < 3; i++)
      commit(state, (tx) =>
        tx.put("node", Node.fromPartial({ id: `n${i}`, status: { message: "x".repeat(1_500_000) } })),
      );
    const pieces = [...state.snapshot()];
    expect(Math.max(...pieces.map((p) => p.length))).to.equal(MAX_PIECE);
    const copy = createState();
    copy.restore(3, pieces);
    expect(hashState(copy)).to.equal(hashState(state));
    expect(() => createState().restore(3, pieces.slice(0, -1))).to.throw(/damaged/);
    expect(() => createState().restore(3, [])).to.throw(/no header/);
  });

  it("makes nothing visible before it is applied", () => {
    const state = base();
    const tx = state.begin();
    tx.put("task", task("t1", "10.0.0.2"));
    tx.delete("service", "s1");
    expect([tx.count("task"), tx.count("service"), tx.heldAddresses("net1").size]).to.deep.equal([1, 0, 4]);
    expect([state.count("task"), state.count("service"), state.heldAddresses("net1").size]).to.deep.equal([0, 1, 3]);
  });

  it("forgets what was made and taken back in one transaction", () => {
    const tx = base().begin();
    tx.put("node", Node.fromPartial({ id: "n1" }));
    tx.delete("node", "n1");
    expect(tx.changes()).to.deep.equal([]);
  });
});

// ---- properties ---------------------------------------------------------------------------------------------------

type Step = {
  table: "task" | "service" | "network";
  id: number;
  ip: number;
  state: TaskState;
  remove: boolean;
  name: number;
};
const steps = fc.array(
  fc.array(
    fc.record<Step>({
      table: fc.constantFrom("task", "task", "service", "network"),
      id: fc.nat(5),
      ip: fc.integer({ min: 1, max: 8 }),
      state: fc.constantFrom(TaskState.TASK_NEW, TaskState.TASK_RUNNING, TaskState.TASK_FAILED),
      remove: fc.boolean(),
      name: fc.nat(4),
    }),
    { minLength: 1, maxLength: 5 },
  ),
  { maxLength: 25 },
);

const write = (tx: Tx, s: Step): void => {
  const id = `${s.table}${s.id}`;
  if (s.remove) {
    tx.delete(s.table, id);
    return;
  }
  const meta = tx.get(s.table, id)?.meta;
  if (s.table === "task") {
    const made = task(id, `10.0.0.${s.ip}`, s.state);
    tx.put("task", { ...made, meta, serviceId: `service${s.name}`, nodeId: s.name === 0 ? "" : `n${s.name}` });
  } else if (s.table === "service")
    tx.put("service", { ...service(id, `name${s.name}`, s.ip > 4 ? ["net1"] : []), meta });
  else tx.put("network", { ...network(id, s.ip), meta });
};

/** Everything that indexes answer, from indexes. */
const answers = (view: ReadTx): unknown => ({
  service: [0, 1, 2, 3, 4].map((n) =>
    view
      .tasksOfService(`service${n}`)
      .map((t) => t.id)
      .sort(),
  ),
  node: [1, 2, 3, 4].map((n) =>
    view
      .tasksOfNode(`n${n}`)
      .map((t) => t.id)
      .sort(),
  ),
  network: view
    .tasksOfNetwork("net1")
    .map((t) => t.id)
    .sort(),
  services: view
    .servicesOfNetwork("net1")
    .map((s) => s.id)
    .sort(),
  fresh: view
    .newTasks()
    .map((t) => t.id)
    .sort(),
  names: [0, 1, 2, 3, 4].map((n) => view.serviceByName(`name${n}`)?.id),
  networks: [0, 1, 2, 3, 4, 5].map((n) => view.networkByName(`network${n}`)?.id),
  holders: [...view.heldAddresses("net1")].sort().map((a) => [a, view.addressHolder("net1", a)]),
  held: view.heldAddresses("net1").size,
  counts: TABLE_NAMES.map((t) => [view.count(t), [...view.all(t)].length]),
});

/** A state made from the objects alone: its indexes are computed anew. */
const rebuilt = (view: ReadTx): State => {
  const changes: Change[] = [];
  for (const table of TABLE_NAMES)
    for (const object of view.all(table) as Iterable<Tables[TableName]>)
      changes.push({ kind: Change_Kind.PUT, table, id: object.id, ifVersion: 0, object: toStoreObject(table, object) });
  const state = createState();
  const result = state.apply(1, { id: "all", time: 0, changes });
  expect(result).to.deep.equal({ ok: true });
  return state;
};

describe("state, random commands", () => {
  it("keeps its indexes equal to a recomputation, is all or nothing, deterministic, and survives a snapshot", () => {
    fc.assert(
      fc.property(steps, (log) => {
        const state = createState();
        const twin = createState();
        commit(state, (tx) => tx.put("network", network("net1", 99)));
        const seed = createState();
        seed.restore(state.index, state.snapshot());
        twin.restore(1, seed.snapshot());
        for (const [i, command] of log.entries()) {
          const before = hashState(state);
          const tx = state.begin();
          for (const step of command) write(tx, step);
          const seen = answers(tx);
          const sent = Command.encode({ id: `p${i}`, time: i, changes: tx.changes() }).finish();
          const result = state.apply(state.index + 1, Command.decode(sent));
          twin.apply(twin.index + 1, Command.decode(sent));
          if (result.ok) expect(answers(state)).to.deep.equal(seen);
          else expect(hashState(state)).to.equal(before);
          expect(answers(state)).to.deep.equal(answers(rebuilt(state)));
        }
        expect(hashState(twin)).to.equal(hashState(state));
        const copy = createState();
        copy.restore(state.index, state.snapshot());
        expect(hashState(copy)).to.equal(hashState(state));
        expect(answers(copy)).to.deep.equal(answers(state));
      }),
      { numRuns: 150 },
    );
  });
});
