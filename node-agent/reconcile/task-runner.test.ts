import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { createFakeHost, fakeTask, settle } from "#node-agent/reconcile/fake-host.ts";
import { type Task, TaskState } from "#proto/gen/types.ts";

const { TASK_COMPLETE, TASK_FAILED, TASK_ORPHANED, TASK_REJECTED, TASK_RUNNING, TASK_SHUTDOWN } = TaskState;
const view = (...tasks: Task[]) => new Map(tasks.map((task) => [task.id, task]));

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

  /** One whole life, with the agent killed at its n-th step and started again. Answers whether it was killed. */
  const life = async (n: number, phases: readonly (() => ReadonlyMap<string, Task>)[]): Promise<boolean> => {
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
