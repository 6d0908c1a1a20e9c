import { appendFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { createFakeHost, fakeTask, settle } from "#node-agent/reconcile/fake-host.ts";
import type { AssignedView } from "#node-agent/reconcile/task-runner.ts";
import { emptyView } from "#node-agent/session/view.ts";
import { ServiceEndpoint } from "#proto/gen/dispatcher.ts";
import { NetworkAttachment, PortConfig, PortProtocol, Task, TaskState } from "#proto/gen/types.ts";

const { TASK_COMPLETE, TASK_FAILED, TASK_ORPHANED, TASK_REJECTED, TASK_RUNNING, TASK_SHUTDOWN } = TaskState;
const view = (...tasks: Task[]): AssignedView => ({
  ...emptyView,
  tasks: new Map(tasks.map((task) => [task.id, task])),
});

describe("task runner", () => {
  let host: ReturnType<typeof createFakeHost>;
  beforeEach(() => {
    host = createFakeHost();
  });
  afterEach(() => host.close());
  const states = (id: string) => host.reports.filter((r) => r.taskId === id).map((r) => r.status!.state);
  const starts = (id: string) => host.runtime.calls.filter((c) => c === `start ${id}`).length;
  const nothingLeft = async (when?: string) => {
    expect(await host.runtime.list(), when).to.deep.equal([]);
    expect([...host.mounts]).to.deep.equal([]);
    expect([...host.wired()]).to.deep.equal([]);
    expect(host.records()).to.deep.equal([]);
  };

  it("runs what is assigned, stops what is to stop, forgets what is gone", async () => {
    const { runner } = await host.agent();
    runner.assign(view(fakeTask("a"), fakeTask("b")));
    await settle();
    expect(states("a").at(-1)).to.equal(TASK_RUNNING);
    expect(runner.running()).to.equal(2);
    runner.assign(view(fakeTask("a", TASK_SHUTDOWN), fakeTask("b")));
    await settle();
    expect(states("a").at(-1)).to.equal(TASK_SHUTDOWN);
    expect(runner.get("a")).to.not.equal(undefined);
    runner.assign(view(fakeTask("b")));
    await settle();
    expect(runner.get("a")).to.equal(undefined);
    expect(host.records()).to.deep.equal(["b"]);
    await runner.removeAll();
    await nothingLeft();
  });

  it("changes the lines of its own addresses in /etc/hosts with the networks of a running container, also after a restart", async () => {
    const { runner } = await host.agent();
    const on = (...addresses: string[]): Task => ({
      ...fakeTask("a"),
      attachments: addresses.map((ipv4) => NetworkAttachment.fromPartial({ ipv4 })),
    });
    runner.assign(view(on("10.0.0.2/24")));
    await settle();
    const path = join(host.dir, "a", "hosts");
    const { ino } = statSync(path);
    appendFileSync(path, "192.0.2.7\tmine\n");
    const own = () => readFileSync(path, "utf8").split("\n").slice(6);
    runner.assign(view(on("10.0.0.2/24", "10.1.0.2/24")));
    expect(own()).to.deep.equal(["10.0.0.2\ta", "192.0.2.7\tmine", "10.1.0.2\ta", ""]);
    runner.close();
    const again = await host.agent();
    again.runner.assign(view(on("10.0.0.2/24")));
    expect(own()).to.deep.equal(["10.0.0.2\ta", "192.0.2.7\tmine", ""]);
    expect(statSync(path).ino, "the file that the container has").to.equal(ino);
    await again.runner.removeAll();
  });

  it("reports how it ended", async () => {
    const { runner } = await host.agent();
    runner.assign(view(fakeTask("ok"), fakeTask("bad"), fakeTask("oom")));
    await settle();
    host.runtime.exit("ok", 0);
    host.runtime.exit("bad", 3);
    host.runtime.exit("oom", 137, true);
    await settle();
    expect(states("ok").at(-1)).to.equal(TASK_COMPLETE);
    const last = (id: string) => host.reports.findLast((r) => r.taskId === id)!.status!;
    expect(last("bad")).to.include({ state: TASK_FAILED, exitCode: 3, error: "task: non-zero exit (3)" });
    expect(last("oom").error).to.contain("out of memory");
    expect([...host.mounts]).to.deep.equal([]);
  });

  it("rejects what can't be prepared, and gives back what was made for it", async () => {
    const { runner } = await host.agent();
    const missing = { ...fakeTask("missing"), spec: { ...fakeTask("x").spec!, container: undefined } };
    missing.spec.container = { ...fakeTask("x").spec!.container!, image: "other" } as never;
    host.runtime.fail("create", "broken");
    runner.assign(view(missing as Task, fakeTask("broken")));
    await settle();
    expect(states("missing").at(-1)).to.equal(TASK_REJECTED);
    expect(states("broken").at(-1)).to.equal(TASK_REJECTED);
    expect([...host.mounts, ...host.wired()]).to.deep.equal([]);
  });

  it("fails what was running and is gone, and never runs it again", async () => {
    const first = await host.agent();
    first.runner.assign(view(fakeTask("a")));
    await settle();
    host.crashAfter(1);
    await host.runtime.remove("a");
    const { runner } = await host.agent();
    runner.assign(view(fakeTask("a")));
    await settle();
    expect(states("a").at(-1)).to.equal(TASK_FAILED);
    expect(starts("a")).to.equal(1);
  });

  it("runs nothing that the control plane knows as running or ended", async () => {
    const { runner } = await host.agent();
    const known = (id: string, state: TaskState): Task => ({
      ...fakeTask(id),
      status: { ...fakeTask(id).status!, state },
    });
    runner.assign(view(known("ran", TASK_RUNNING), known("done", TASK_COMPLETE), known("lost", TASK_ORPHANED)));
    await settle();
    expect(host.runtime.calls.filter((c) => c.startsWith("create"))).to.deep.equal([]);
    expect(states("ran")).to.deep.equal([TASK_FAILED]);
  });

  it("starts beside folders without a whole record, and containers without a task", async () => {
    mkdirSync(join(host.dir, "empty"));
    mkdirSync(join(host.dir, "torn"));
    writeFileSync(join(host.dir, "torn", "task.bin"), "");
    mkdirSync(join(host.dir, "junk"));
    writeFileSync(join(host.dir, "junk", "task.bin"), Buffer.from([0xff, 0xff, 0xff]));
    host.mounts.add(join(host.dir, "torn", "rootfs"));
    await host.runtime.create({ id: "stray" } as never);
    const { runner } = await host.agent();
    runner.assign(view());
    await settle();
    await nothingLeft();
  });

  describe("that has clients", () => {
    const service = { networkId: "n", serviceId: "s" };
    const serving = (id: string, desired: TaskState = TASK_RUNNING, drainMs?: number): Task => {
      const task = fakeTask(id, desired);
      return Task.fromPartial({
        ...task,
        serviceId: "s",
        attachments: [{ networkId: "n" }],
        spec: { ...task.spec!, drainMs },
      });
    };
    const served = (task: Task, drained = false): AssignedView => ({
      ...view(task),
      services: new Map([["service/n/s", ServiceEndpoint.fromPartial(service)]]),
      drained: new Map(drained ? [[task.id, { taskId: task.id }]] : []),
    });
    const stopped = (id: string) => host.runtime.calls.some((call) => call.startsWith(`stop ${id} `));
    const start = async (task: Task) => {
      const { runner } = await host.agent();
      runner.assign(served(task));
      await settle();
      expect(states(task.id).at(-1)).to.equal(TASK_RUNNING);
      return runner;
    };

    it("is stopped when it is drained and its connections are over", async () => {
      const runner = await start(serving("a"));
      host.connections = 2;
      runner.assign(served(serving("a", TASK_SHUTDOWN)));
      await settle();
      host.pass(1_000);
      await settle();
      expect(stopped("a")).to.equal(false);
      expect(host.reports.at(-1)!.status).to.include({ state: TASK_RUNNING, message: "draining" });
      runner.assign(served(serving("a", TASK_SHUTDOWN), true));
      await settle();
      expect(stopped("a"), "with connections").to.equal(false);
      host.connections = 0;
      host.pass(100);
      await settle();
      expect(stopped("a")).to.equal(true);
      expect(host.reports.at(-1)!.status).to.include({ state: TASK_SHUTDOWN, message: "shutdown" });
    });

    it("is stopped at once when it is drained and nobody is connected", async () => {
      const runner = await start(serving("a"));
      runner.assign(served(serving("a", TASK_SHUTDOWN), true));
      await settle();
      expect(stopped("a")).to.equal(true);
      expect(host.reports.map((r) => r.status!.message)).not.to.include("draining");
    });

    it("is stopped after its drain time, whatever the manager and its clients do", async () => {
      const runner = await start(serving("a", TASK_RUNNING, 700));
      host.connections = 1;
      runner.assign(served(serving("a", TASK_SHUTDOWN, 700)));
      for (let ms = 0; ms < 600; ms += 100) {
        await settle();
        host.pass(100);
      }
      await settle();
      expect(stopped("a")).to.equal(false);
      host.pass(100);
      await settle();
      expect(stopped("a")).to.equal(true);
    });

    it("does not begin its drain time anew with a new agent", async () => {
      const runner = await start(serving("a"));
      runner.assign(served(serving("a", TASK_SHUTDOWN)));
      await settle();
      host.pass(9_000);
      await settle();
      runner.close();
      const next = (await host.agent()).runner;
      next.assign(served(serving("a", TASK_SHUTDOWN)));
      await settle();
      expect(stopped("a")).to.equal(false);
      // It was written down when it had lasted for 300 ms; the fake clock passed 9 s at once.
      host.pass(10_000);
      await settle();
      expect(stopped("a")).to.equal(true);
    });

    it("is stopped at once without a drain time, without a service, and when the service goes", async () => {
      const runner = await start(serving("a", TASK_RUNNING, 0));
      host.connections = 1;
      runner.assign(served(serving("a", TASK_SHUTDOWN, 0)));
      await settle();
      expect(stopped("a")).to.equal(true);
      runner.assign(served(serving("b")));
      await settle();
      runner.assign(served(serving("b", TASK_SHUTDOWN)));
      await settle();
      expect(stopped("b")).to.equal(false);
      runner.assign(view(serving("b", TASK_SHUTDOWN)));
      await settle();
      expect(stopped("b")).to.equal(true);
    });

    it("runs when it listens", async () => {
      const { runner } = await host.agent();
      host.listening = false;
      runner.assign(
        served({ ...serving("a"), ports: [PortConfig.fromPartial({ target: 80, protocol: PortProtocol.TCP })] }),
      );
      await settle();
      expect(starts("a")).to.equal(1);
      expect(states("a").at(-1)).to.equal(TaskState.TASK_STARTING);
      host.listening = true;
      host.pass(100);
      await settle();
      expect(states("a").at(-1)).to.equal(TASK_RUNNING);
    });

    it("runs also when it never listens, and ends when it ends before", async () => {
      const { runner } = await host.agent();
      host.listening = false;
      const ports = [PortConfig.fromPartial({ target: 80, protocol: PortProtocol.TCP })];
      runner.assign(view({ ...serving("a"), ports }, { ...serving("b"), ports }));
      await settle();
      host.runtime.exit("b", 3);
      for (let ms = 0; ms < 6_000; ms += 100) {
        await settle();
        host.pass(100);
      }
      await settle();
      expect(states("a").at(-1)).to.equal(TASK_RUNNING);
      expect(states("b").at(-1)).to.equal(TASK_FAILED);
    });
  });

  /** One whole life, with the agent killed at its n-th step and started again. Answers whether it was killed. */
  const life = async (n: number, phases: readonly (() => AssignedView)[]): Promise<boolean> => {
    let agent = await host.agent();
    let wasKilled = false;
    host.crashAfter(n);
    for (const phase of phases) {
      const tasks = phase();
      agent.runner.assign(tasks);
      await settle();
      if (!agent.dead()) continue;
      wasKilled = true;
      agent = await host.agent();
      // As the session does when it begins.
      host.reports.push(...agent.runner.statuses());
      agent.runner.assign(tasks);
      await settle();
    }
    return wasKilled;
  };

  const again = () => {
    host.close();
    host = createFakeHost();
  };
  const grows = (id: string, at: string) => {
    const all = states(id);
    expect(all, at).to.deep.equal([...all].sort((a, b) => a - b));
  };

  it("killed at any step: a service's task runs once and ends once", async () => {
    let n = 1;
    for (; ; n++) {
      again();
      const killed = await life(n, [
        () => view(fakeTask("a")),
        () => {
          expect(states("a").at(-1), `killed at step ${n}`).to.equal(TASK_RUNNING);
          return view(fakeTask("a", TASK_SHUTDOWN));
        },
        () => {
          expect(states("a").at(-1), `killed at step ${n}`).to.equal(TASK_SHUTDOWN);
          return view();
        },
      ]);
      expect(starts("a"), `killed at step ${n}`).to.equal(1);
      grows("a", `killed at step ${n}`);
      await nothingLeft();
      if (!killed) break;
    }
    expect(n).to.be.greaterThan(20);
  });

  it("killed at any step: a job runs once", async () => {
    let n = 1;
    for (; ; n++) {
      again();
      const killed = await life(n, [
        () => view(fakeTask("a")),
        () => {
          host.runtime.exit("a", 0);
          return view(fakeTask("a"));
        },
        () => {
          expect(states("a").at(-1), `killed at step ${n}`).to.equal(TASK_COMPLETE);
          return view();
        },
      ]);
      expect(starts("a"), `killed at step ${n}`).to.equal(1);
      grows("a", `killed at step ${n}`);
      await nothingLeft();
      if (!killed) break;
    }
    expect(n).to.be.greaterThan(20);
  });

  it("killed at any step: what is no longer wanted leaves nothing", async () => {
    for (let n = 1; ; n++) {
      again();
      const agent = await host.agent();
      host.crashAfter(n);
      agent.runner.assign(view(fakeTask("a")));
      await settle();
      const killed = agent.dead();
      host.crashAfter(Number.POSITIVE_INFINITY);
      const { runner } = killed ? await host.agent() : agent;
      runner.assign(view());
      await settle();
      await nothingLeft(`killed at step ${n}`);
      if (!killed) break;
    }
  });
});
