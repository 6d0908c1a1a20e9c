import { expect } from "chai";
import fc from "fast-check";
import { ADDRESS_REST_MS } from "#control-plane/state/apply.ts";
import { hasEnded } from "#control-plane/state/keys.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, Tx } from "#control-plane/state/types.ts";
import { Network, Node, NodeState, Service, Task, TaskState } from "#proto/gen/types.ts";
import { allocate } from "./allocate.ts";

let ids = 0;
const newId = (): string => `id${ids++}`;
const commit = (state: State, now: number, write: (tx: Tx) => void): void => {
  const tx = state.begin();
  write(tx);
  expect(state.apply(state.index + 1, { id: newId(), time: now, changes: tx.changes() })).to.deep.equal({ ok: true });
};
const pass = (state: State, now: number): { wakeAt?: number } => {
  let result: { wakeAt?: number } = {};
  commit(state, now, (tx) => {
    result = allocate(tx, { now, newId });
  });
  return result;
};
const fresh = (id: string, networks: string[]): Task =>
  Task.fromPartial({
    id,
    serviceId: "s",
    desiredState: TaskState.TASK_RUNNING,
    spec: { networks: networks.map((target) => ({ target })) },
  });
const net = (id: string, subnets: object[], driver = "overlay"): Network =>
  Network.fromPartial({
    id,
    vni: driver === "overlay" ? 5000 + id.length : 0,
    spec: { annotations: { name: id }, driver, ipv4: true },
    subnets,
  });
const small = { subnet: "10.0.0.0/28", gateway: "10.0.0.1" };
const withState = (task: Task, state: TaskState): Task => ({ ...task, status: { ...task.status!, state } });

describe("allocator", () => {
  it("gives tasks addresses of both families, a MAC, and no address on host networks", () => {
    const state = createState();
    commit(state, 0, (tx) => {
      tx.put("network", net("a", [small, { subnet: "fd00::/64", gateway: "fd00::1" }]));
      tx.put("network", net("six!", [{ subnet: "fd01::/64", gateway: "fd01::1" }]));
      tx.put("network", net("host", [], "host"));
      tx.put("task", fresh("t1", ["a", "six!"]));
      tx.put("task", fresh("t2", ["host"]));
    });
    pass(state, 1);
    const [first, second] = state.get("task", "t1")!.attachments;
    expect(first).to.deep.equal({
      networkId: "a",
      ipv4: "10.0.0.2/28",
      ipv6: "fd00::2/64",
      mac: "02:42:0a:00:00:02",
      aliases: [],
      interfaceName: "eth0",
      gatewayPriority: 0,
      sysctls: {},
    });
    expect(second).to.include({ ipv4: "", ipv6: "fd01::2/64", interfaceName: "eth1" });
    expect(second!.mac).to.match(/^02(:[0-9a-f]{2}){5}$/);
    expect(state.get("task", "t2")!.attachments[0]).to.include({ ipv4: "", mac: "", interfaceName: "" });
    expect(state.get("task", "t2")!.status!.state).to.equal(TaskState.TASK_PENDING);
  });

  it("says why a task has to wait, once, and gives it the address that rests when it is free", () => {
    const state = createState();
    commit(state, 0, (tx) => {
      tx.put("network", net("a", [{ ...small, range: "10.0.0.2/31" }]));
      for (const id of ["t1", "t2", "t3"]) tx.put("task", fresh(id, ["a"]));
    });
    pass(state, 1);
    const waiting = state.get("task", "t3")!;
    expect(waiting.status!.state).to.equal(TaskState.TASK_NEW);
    expect(waiting.status!.error).to.match(
      /network a: .*10\.0\.0\.0\/28 \(range 10\.0\.0\.2\/31\): 2 of 2 .*--subnet-add SUBNET a/,
    );
    pass(state, 2);
    expect(state.get("task", "t3")!.meta!.version).to.equal(waiting.meta!.version);
    commit(state, 100, (tx) => tx.put("task", withState(tx.get("task", "t1")!, TaskState.TASK_FAILED)));
    expect(pass(state, 101).wakeAt).to.equal(100 + ADDRESS_REST_MS);
    expect(state.get("task", "t3")!.status!.state).to.equal(TaskState.TASK_NEW);
    expect(pass(state, 100 + ADDRESS_REST_MS).wakeAt).to.equal(undefined);
    expect(state.get("task", "t3")!.attachments[0]!.ipv4).to.equal("10.0.0.2/28");
  });

  it("goes on after the address that was given last", () => {
    const state = createState();
    commit(state, 0, (tx) => {
      tx.put("network", net("a", [small]));
      for (const id of ["t1", "t2", "t3"]) tx.put("task", fresh(id, ["a"]));
    });
    pass(state, 1);
    commit(state, 2, (tx) => tx.delete("task", "t1"));
    pass(state, 100_000);
    commit(state, 100_001, (tx) => tx.put("task", fresh("t4", ["a"])));
    pass(state, 100_002);
    expect(state.get("task", "t4")!.attachments[0]!.ipv4).to.equal("10.0.0.5/28");
  });

  it("skips what nodes reach on their own when it cuts subnets", () => {
    const state = createState();
    commit(state, 0, (tx) => {
      const description = { routes: ["10.0.3.4/16", "0.0.0.0/0", "no route"] };
      tx.put("node", Node.fromPartial({ id: "n", description, status: { state: NodeState.NODE_READY } }));
      tx.put(
        "network",
        Network.fromPartial({ id: "x", spec: { annotations: { name: "x" }, driver: "overlay", ipv4: true } }),
      );
    });
    pass(state, 1);
    expect(state.get("network", "x")).to.deep.include({ vni: 4096 });
    expect(state.get("network", "x")!.subnets[0]).to.include({ subnet: "10.1.0.0/24", gateway: "10.1.0.1" });
  });

  const steps = fc.array(
    fc.record({ kind: fc.constantFrom("create", "run", "end", "remove", "pass", "wait"), n: fc.nat(20) }),
    { maxLength: 60 },
  );
  it("never gives an address twice, leaks none and keeps VIPs, whatever happens", () => {
    fc.assert(
      fc.property(steps, (history) => {
        const state = createState();
        let now = 1;
        commit(state, now, (tx) => {
          tx.put("network", net("a", [small]));
          tx.put(
            "service",
            Service.fromPartial({
              id: "s",
              spec: { annotations: { name: "s" }, task: { networks: [{ target: "a" }] } },
            }),
          );
        });
        pass(state, now);
        const { vips } = state.get("service", "s")!;
        /** address → when it was released */
        const released = new Map<string, number>();
        const release = (task: Task): void => {
          for (const a of hasEnded(task) ? [] : task.attachments) released.set(a.ipv4, now);
        };
        for (const { kind, n } of history) {
          now += kind === "wait" ? ADDRESS_REST_MS : 50;
          const tasks = [...state.all("task")];
          const task = tasks[n % Math.max(tasks.length, 1)];
          if (kind === "create") commit(state, now, (tx) => [0, 1, 2].map(() => tx.put("task", fresh(newId(), ["a"]))));
          else if (kind === "pass" || kind === "wait") {
            const before = new Set(tasks.flatMap((t) => t.attachments.map((a) => `${t.id} ${a.ipv4}`)));
            pass(state, now);
            for (const t of state.all("task"))
              for (const a of t.attachments)
                if (!before.has(`${t.id} ${a.ipv4}`) && released.has(a.ipv4))
                  expect(now - released.get(a.ipv4)!, "time of rest").to.be.at.least(ADDRESS_REST_MS);
          } else if (task !== undefined && kind === "remove") {
            release(task);
            commit(state, now, (tx) => tx.delete("task", task.id));
          } else if (task !== undefined && !hasEnded(task)) {
            if (kind === "end") release(task);
            const next = kind === "end" ? TaskState.TASK_FAILED : TaskState.TASK_RUNNING;
            const ready = task.attachments.length > 0 || kind === "end";
            if (ready)
              commit(state, now, (tx) => tx.put("task", Task.fromPartial({ ...task, status: { state: next } })));
          }
          const live = [...state.all("task")]
            .filter((t) => !hasEnded(t))
            .flatMap((t) => t.attachments.map((a) => a.ipv4));
          expect(new Set(live).size).to.equal(live.length);
          // Every held address is that of a live task, a lease, the VIP or the gateway, and the other way round.
          expect(state.heldAddresses("a").size).to.equal(live.length + state.count("lease") + 2);
          expect(state.get("service", "s")!.vips).to.deep.equal(vips);
        }
        for (const task of [...state.all("task")]) commit(state, now, (tx) => tx.delete("task", task.id));
        pass(state, now + ADDRESS_REST_MS);
        expect([...state.heldAddresses("a")].sort()).to.deep.equal(["10.0.0.1", vips[0]!.ipv4]);
      }),
      { numRuns: 200 },
    );
  });
});
