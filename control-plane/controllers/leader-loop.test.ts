import { expect } from "chai";
import { silentLogger } from "#base/log.ts";
import { makeNode, makeSpec, setSpec } from "#control-plane/orchestrator/fake-cluster.ts";
import { isLive, observed } from "#control-plane/orchestrator/task-life.ts";
import { ADDRESS_REST_MS } from "#control-plane/state/apply.ts";
import { createState } from "#control-plane/state/state.ts";
import type { ApplyResult, Tx } from "#control-plane/state/types.ts";
import { Change_Kind, type Command } from "#proto/gen/store.ts";
import { Network, RestartCondition, Task, TaskState } from "#proto/gen/types.ts";
import { bundlesOf } from "./bundles.ts";
import { createLeaderLoop } from "./leader-loop.ts";
import { createManualClock } from "./manual-clock.ts";
import { splitChanges } from "./split-changes.ts";

/** A log in memory: a proposal is applied after `delayMs`, unless the log is told to fail. */
const setup = (delayMs = 5) => {
  const state = createState();
  const clock = createManualClock();
  const proposed: Command[] = [];
  let made = 0;
  let inFlight = 0;
  const log = { fails: false, mostInFlight: 0 };
  const context = () => ({ now: clock.now(), newId: () => `id${made++}` });
  const propose = (command: Command): Promise<{ result: ApplyResult }> =>
    new Promise((resolve, reject) => {
      log.mostInFlight = Math.max(log.mostInFlight, ++inFlight);
      clock.after(delayMs, () => {
        inFlight--;
        if (log.fails) return reject(new Error("no quorum"));
        proposed.push(command);
        return resolve({ result: state.apply(state.index + 1, command) });
      });
    });
  /** Somebody else's write, at once. */
  const write = (change: (tx: Tx) => void): void => {
    const tx = state.begin();
    change(tx);
    state.apply(state.index + 1, { id: `write${made++}`, time: clock.now(), changes: tx.changes() });
  };
  write((tx) => {
    for (const id of ["n1", "n2", "n3"]) tx.put("node", makeNode(id));
  });
  const loop = createLeaderLoop({ replicated: { state, context, propose }, clock, logger: silentLogger });
  const deploy = (replicas: number, spec = {}) => write((tx) => setSpec(tx, "web", makeSpec("web", replicas, spec)));
  const advance = (to: TaskState): void =>
    write((tx) => {
      for (const task of [...tx.all("task")])
        if (isLive(task)) tx.put("task", { ...task, status: { ...task.status!, state: to } });
    });
  return { state, clock, proposed, log, loop, write, deploy, advance };
};

describe("leader loop", () => {
  it("makes, addresses and assigns 300 tasks in one log entry", async () => {
    const { state, clock, proposed, loop, write, deploy } = setup();
    loop.start();
    write((tx) =>
      tx.put(
        "network",
        Network.fromPartial({
          id: "net1",
          vni: 4096,
          spec: { driver: "overlay", ipv4: true },
          subnets: [{ subnet: "10.77.0.0/16", gateway: "10.77.0.1" }],
        }),
      ),
    );
    deploy(300, { networks: [{ target: "net1" }] });
    await clock.pass(100);
    expect(proposed).to.have.length(1);
    const tasks = [...state.all("task")].filter((task) => observed(task) === TaskState.TASK_ASSIGNED);
    expect(new Set(tasks.map((task) => task.attachments[0]?.ipv4)).size).to.equal(300);
    expect(state.get("service", "web")?.vips[0]?.ipv4).to.match(/^10\.77\./);
  });

  it("gives waiting tasks an address when a rest ends, and when a subnet is added, also while something is proposed", async () => {
    const { state, clock, loop, write, deploy } = setup(50);
    const subnet = (text: string) => ({ subnet: text, range: "", gateway: "", reserved: {} });
    const put = (id: string, ...subnets: string[]) =>
      write((tx) => {
        const fresh = Network.fromPartial({
          id,
          vni: id === "net1" ? 4096 : 4097,
          spec: { driver: "overlay", ipv4: true },
        });
        tx.put("network", { ...(tx.get("network", id) ?? fresh), subnets: subnets.map(subnet) });
      });
    const waiting = (): number => [...state.all("task")].filter((t) => observed(t) === TaskState.TASK_NEW).length;
    const fail = (task: Task) =>
      write((tx) => tx.put("task", { ...task, status: { ...task.status!, state: TaskState.TASK_FAILED } }));
    put("net1", "10.77.0.0/29");
    put("net2", "10.79.0.0/29");
    loop.start();
    write((tx) => setSpec(tx, "other", makeSpec("other", 1, { networks: [{ target: "net2" }] })));
    deploy(9, { networks: [{ target: "net1" }] });
    await clock.pass(200);
    expect(waiting()).to.equal(4);

    fail([...state.all("task")].find((t) => t.serviceId === "web" && observed(t) === TaskState.TASK_ASSIGNED)!);
    await clock.pass(ADDRESS_REST_MS - 100);
    const before = waiting();
    await clock.pass(1_000);
    expect(waiting()).to.equal(before - 1);

    fail([...state.all("task")].find((t) => t.serviceId === "other")!);
    const rests = clock.now() + ADDRESS_REST_MS;
    await clock.pass(ADDRESS_REST_MS - 10);
    const stillWaiting = waiting();
    await clock.pass(rests + 20 - clock.now());
    put("net1", "10.77.0.0/29", "10.78.0.0/30");
    await clock.pass(1_000);
    expect(waiting()).to.equal(stillWaiting - 2);
  });

  it("takes over what is there when it starts", async () => {
    const { state, clock, loop, deploy } = setup();
    deploy(3);
    await clock.pass(100);
    expect(state.count("task")).to.equal(0);
    loop.start();
    await clock.pass(100);
    expect(state.count("task")).to.equal(3);
  });

  it("has one proposal in flight and gathers what happens meanwhile", async () => {
    const { state, clock, proposed, log, loop, deploy } = setup(50);
    loop.start();
    for (let replicas = 1; replicas <= 40; replicas++) {
      deploy(replicas);
      await clock.pass(10);
    }
    await clock.pass(500);
    expect(log.mostInFlight).to.equal(1);
    expect(proposed.length).to.be.at.most(10);
    expect(state.count("task")).to.equal(40);
  });

  it("decides anew when the state changed under a proposal", async () => {
    const { state, clock, loop, deploy } = setup(50);
    loop.start();
    deploy(3);
    await clock.pass(200);
    deploy(1);
    await clock.pass(10);
    const doomed = [...state.all("task")];
    const tx = state.begin();
    for (const task of doomed) tx.put("task", { ...task, status: { ...task.status!, pid: 1 } });
    state.apply(state.index + 1, { id: "agent", time: clock.now(), changes: tx.changes() });
    await clock.pass(500);
    expect(state.tasksOfService("web").filter(isLive)).to.have.length(1);
  });

  it("gets through although agents write all the time", async () => {
    const { state, clock, loop, write, deploy } = setup(5);
    loop.start();
    deploy(60);
    await clock.pass(100);
    deploy(0);
    const leftAfter = async (ms: number): Promise<number> => {
      for (let i = 0; i < ms; i++) {
        const [task] = [...state.all("task")].slice(i % 60);
        if (task !== undefined) write((tx) => tx.put("task", { ...task, status: { ...task.status!, pid: i } }));
        await clock.pass(1);
      }
      return state.tasksOfService("web").filter(isLive).length;
    };
    expect(await leftAfter(1000)).to.equal(0);
  });

  it("retries after a failed proposal", async () => {
    const { state, clock, log, loop, deploy } = setup();
    loop.start();
    log.fails = true;
    deploy(2);
    await clock.pass(2000);
    expect(state.count("task")).to.equal(0);
    log.fails = false;
    await clock.pass(1000);
    expect(state.count("task")).to.equal(2);
  });

  it("wakes up for timers: a failed task is restarted after its delay", async () => {
    const { state, clock, loop, deploy, advance } = setup();
    loop.start();
    deploy(1, { restart: { condition: RestartCondition.RESTART_ANY, delayMs: 5000 } });
    await clock.pass(100);
    advance(TaskState.TASK_RUNNING);
    advance(TaskState.TASK_FAILED);
    await clock.pass(4900);
    const replacement = () => [...state.all("task")].find(isLive);
    expect(replacement()?.desiredState).to.equal(TaskState.TASK_READY);
    await clock.pass(200);
    expect(replacement()?.desiredState).to.equal(TaskState.TASK_RUNNING);
  });

  it("places waiting tasks when a node comes", async () => {
    const { state, clock, loop, write, deploy } = setup();
    loop.start();
    deploy(1, { placement: { constraints: ["node.id==n9"] } });
    await clock.pass(100);
    const [task] = [...state.all("task")];
    expect(task?.status?.error).to.equal("no suitable node (scheduling constraints not satisfied on 3 nodes)");
    const idle = state.index;
    await clock.pass(10_000);
    expect(state.index).to.equal(idle);
    write((tx) => tx.put("node", makeNode("n9")));
    await clock.pass(100);
    expect(state.get("task", task!.id)?.nodeId).to.equal("n9");
  });

  it("does nothing once it is stopped, and goes on when it is started again", async () => {
    const { state, clock, loop, deploy } = setup(50);
    loop.start();
    deploy(2);
    await clock.pass(10);
    loop.stop();
    await clock.pass(500);
    const tasks = state.count("task");
    deploy(5);
    await clock.pass(500);
    expect(state.count("task")).to.equal(tasks);
    loop.start();
    await clock.pass(500);
    expect(state.count("task")).to.equal(5);
  });
});

describe("splitting changes", () => {
  const change = (bytes: number) => ({
    kind: Change_Kind.PUT,
    table: "task",
    id: "t",
    ifVersion: 1,
    object: { object: { $case: "task" as const, value: Task.fromPartial({ id: "t", name: "x".repeat(bytes) }) } },
  });
  it("cuts by number and by size, and keeps the order", () => {
    expect(splitChanges([])).to.deep.equal([]);
    expect(splitChanges(Array(300).fill(change(1000)))).to.have.length(1);
    expect(splitChanges(Array(4500).fill(change(1))).map((part) => part.length)).to.deep.equal([2000, 2000, 500]);
    expect(splitChanges(Array(300).fill(change(10_000))).map((part) => part.length)).to.deep.equal([104, 104, 92]);
  });
  it("never tears a released address from the lease that lets it rest, nor one that is handed over", () => {
    const state = createState();
    const commit = (write: (tx: Tx) => void): void => {
      const tx = state.begin();
      write(tx);
      state.apply(state.index + 1, { id: `c${state.index}`, time: 1_000, changes: tx.changes() });
    };
    const on = (id: string, address: string): Task =>
      Task.fromPartial({ id, attachments: [{ networkId: "net1", ipv4: `${address}/24` }] });
    commit((tx) => tx.put("network", Network.fromPartial({ id: "net1" })));
    commit((tx) => {
      for (const i of [1, 2, 3, 4]) tx.put("task", on(`t${i}`, `10.0.0.${i}`));
    });
    const tx = state.begin();
    for (const id of ["t1", "t2", "t3"]) tx.delete("task", id);
    // As the allocator does for the next task of a slot.
    tx.delete("lease", "net1/10.0.0.3");
    tx.put("task", on("next", "10.0.0.3"));
    tx.put("task", { ...tx.get("task", "t4")!, slot: 7 });
    const parts = splitChanges(tx.changes(), 1, (changes) => bundlesOf(changes, state));
    expect(parts.map((part) => part.map(({ table, id }) => `${table}/${id}`).sort())).to.deep.equal([
      ["lease/net1/10.0.0.1", "task/t1"],
      ["lease/net1/10.0.0.2", "task/t2"],
      ["task/next", "task/t3"],
      ["task/t4"],
    ]);
    for (const changes of parts) {
      state.apply(state.index + 1, { id: `p${state.index}`, time: 2_000, changes });
      for (const i of [1, 2, 3, 4]) expect(state.addressHolder("net1", `10.0.0.${i}`), `${i}`).to.not.equal(undefined);
    }
    expect(state.addressHolder("net1", "10.0.0.3")).to.equal("task/next");
  });
});
