// A host for tests of the task runner: containers, mounts and networking that outlive the agent, and an agent that can be
// killed before or after any of its steps.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TswarmError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import type { ImageStore } from "#node-agent/images/store.ts";
import { startTaskRunner, type TaskRunner } from "#node-agent/reconcile/task-runner.ts";
import { FakeRuntime } from "#node-agent/runtime/fake-runtime.ts";
import type { Runtime } from "#node-agent/runtime/runtime.ts";
import type { Wiring } from "#node-agent/wiring/wiring.ts";
import type { TaskStatusUpdate } from "#proto/gen/dispatcher.ts";
import { Task, TaskState } from "#proto/gen/types.ts";

const image = {
  digest: "sha256:1",
  names: ["app:1"],
  config: {
    env: ["PATH=/bin"],
    entrypoint: [],
    cmd: ["/app"],
    workdir: "",
    user: "",
    stopSignal: "",
    exposedPorts: [],
  },
  layers: ["/layer"],
  sizeBytes: 1,
};

export const fakeImages = {
  resolve: (ref: string) => (ref === "app:1" ? image : undefined),
} as unknown as ImageStore;

export const fakeTask = (id: string, desiredState: TaskState = TaskState.TASK_RUNNING): Task =>
  Task.fromPartial({
    id,
    name: `${id}.1`,
    desiredState,
    spec: { container: { image: "app:1" } },
    status: { state: TaskState.TASK_ASSIGNED },
  });

/** Lets all promises that can go on go on; the fakes use no timers. */
export const settle = async (): Promise<void> => {
  for (let i = 0; i < 30; i++) await new Promise<void>((resolve) => setImmediate(resolve));
};

export const createFakeHost = () => {
  const dir = mkdtempSync(join(tmpdir(), "tasks-"));
  const runtime = new FakeRuntime();
  const mounts = new Set<string>();
  let wired = new Set<string>();
  const reports: TaskStatusUpdate[] = [];
  let steps = 0;
  let crashAt = Number.POSITIVE_INFINITY;
  let time = 1;
  let timers: { readonly at: number; readonly callback: () => void }[] = [];
  const tcp = { connections: 0, listening: true };

  const agent = async (): Promise<{ readonly runner: TaskRunner; readonly dead: () => boolean }> => {
    let dead = false;
    /** What a killed process does next never happens. */
    const point = (): void => {
      if (!dead && ++steps === crashAt) dead = true;
      if (dead) throw new TswarmError("internal", "killed");
    };
    const never = new Promise<never>(() => {});
    const step = async <T>(work: () => Promise<T> | T): Promise<T> => {
      try {
        point();
      } catch {
        return never;
      }
      const result = await work();
      try {
        point();
      } catch {
        return never;
      }
      return result;
    };
    const watched = new Proxy(runtime, {
      get(target, name: keyof FakeRuntime) {
        const method = target[name] as (...args: unknown[]) => Promise<unknown>;
        if (["create", "start", "stop", "remove"].includes(name))
          return (...args: unknown[]) => step(() => method.apply(target, args));
        if (name === "wait") return (id: string) => target.wait(id).then((exit) => (dead ? never : exit));
        return typeof method === "function" ? method.bind(target) : method;
      },
    }) as Runtime;
    const known = new Set<string>();
    const wiring = {
      attach: (task: Task) =>
        step(() => {
          known.add(task.id);
          wired = new Set(known);
          return { path: `/netns/${task.id}` };
        }),
      adopt: (task: Task) => void known.add(task.id),
      address: () => "",
      detach: (id: string) =>
        step(() => {
          known.delete(id);
          wired = new Set(known);
        }),
    } as unknown as Wiring;
    const runner = await startTaskRunner({
      tasksDir: dir,
      runtime: watched,
      images: fakeImages,
      wiring,
      logger: silentLogger,
      clock: {
        monotonic: () => time,
        after(ms, callback) {
          const timer = { at: time + ms, callback };
          timers.push(timer);
          return () => {
            timers = timers.filter((t) => t !== timer);
          };
        },
        // Asked right before each record is written.
        now: () => {
          point();
          return time;
        },
      },
      sockets: { connections: async () => tcp.connections, listens: async () => tcp.listening },
      report(update) {
        point();
        reports.push(update);
      },
      rootfs: {
        mount({ dir: at }) {
          point();
          if (mounts.has(at)) throw new TswarmError("internal", `${at} is mounted already`);
          mounts.add(at);
          point();
          return { merged: join(at, "merged"), upper: join(at, "upper") };
        },
        unmount: ({ dir: at }) => void mounts.delete(at),
      },
    });
    return { runner, dead: () => dead };
  };

  return {
    dir,
    runtime,
    mounts,
    wired: () => wired,
    reports,
    agent,
    /** The agent is killed at its n-th step from now. */
    crashAfter(n: number) {
      crashAt = steps + n;
    },
    pass(ms: number) {
      time += ms;
      for (const { at, callback } of timers) if (at <= time) callback();
      timers = timers.filter(({ at }) => at > time);
    },
    set connections(count: number) {
      tcp.connections = count;
    },
    set listening(yes: boolean) {
      tcp.listening = yes;
    },
    records: () => readdirSync(dir),
    close: () => rmSync(dir, { recursive: true, force: true }),
  };
};
