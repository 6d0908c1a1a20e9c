// Runs the tasks of this node: one loop per task that takes one step at a time, records it, reports it, and sleeps until
// something changes (its assignment, its container). Tasks do not wait for each other.
import { mkdirSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "#base/clock.ts";
import { refuse, TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { mountRootfs, unmountRootfs } from "#node-agent/images/rootfs.ts";
import type { ImageStore } from "#node-agent/images/store.ts";
import { type ContainerSockets, containerSockets } from "#node-agent/reconcile/container-sockets.ts";
import { containerSpec } from "#node-agent/reconcile/container-spec.ts";
import { hostnameOf, rewriteHosts, writeEtcFiles } from "#node-agent/reconcile/etc-files.ts";
import { servedPorts, untilItListens } from "#node-agent/reconcile/readiness.ts";
import { deleteTask, loadTasks, saveTask, taskPaths } from "#node-agent/reconcile/task-files.ts";
import type { ContainerSpec, ExitStatus, Runtime } from "#node-agent/runtime/runtime.ts";
import { emptyView, type View } from "#node-agent/session/view.ts";
import { drainMsOf, mayWait } from "#node-agent/task/drain.ts";
import { isEnded, type Observed, type Step, step } from "#node-agent/task/step.ts";
import type { Wiring } from "#node-agent/wiring/wiring.ts";
import type { TaskStatusUpdate } from "#proto/gen/dispatcher.ts";
import { type Task, TaskState, type TaskStatus } from "#proto/gen/types.ts";

const DEFAULT_GRACE_MS = 10_000;
/** Preparing is bound by CPU: more at once only make each slower and memory larger. */
const PREPARING_AT_ONCE = 4;
/** How often a task that is to stop is asked whether it has connections. */
const LOOK_MS = 100;
/** Waits that are shorter are not reported: most tasks have no connections when they are drained. */
const REPORT_DRAIN_MS = 300;
const DRAINING = "draining";

/** What the runner needs of the node's view. */
export type AssignedView = Pick<View, "tasks" | "services" | "published" | "drained">;

export type TaskRunner = {
  /** The node's assigned tasks; what is not among them is stopped, given back and forgotten. */
  assign(view: AssignedView): void;
  statuses(): TaskStatusUpdate[];
  get(taskId: string): { readonly task: Task; readonly logPath: string } | undefined;
  readonly running: () => number;
  /** Stops every task and gives everything back. */
  removeAll(): Promise<void>;
  /** Containers go on; nothing is watched any more. */
  close(): void;
};

type Entry = {
  task: Task;
  status: TaskStatus;
  assigned: boolean;
  container: Observed["container"];
  exit: ExitStatus | undefined;
  holdsResources: boolean;
  /** When it was asked to stop with clients that may still use it (monotonic, ms). */
  drainingSince: number | undefined;
  /** Undefined for one that a former process of this agent has made. */
  netns: ContainerSpec["netns"] | undefined;
  /** No client was left when it was asked last. */
  unused: boolean;
  wake: (() => void) | undefined;
  changed: boolean;
};

export type TaskRunnerOptions = {
  readonly tasksDir: string;
  readonly runtime: Runtime;
  readonly images: ImageStore;
  readonly wiring: Wiring;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly report: (update: TaskStatusUpdate) => void;
  /** How root filesystems are mounted; tests need no overlayfs. */
  readonly rootfs?: { readonly mount: typeof mountRootfs; readonly unmount: typeof unmountRootfs };
  /** Tests have no sockets. */
  readonly sockets?: ContainerSockets;
};

const semaphore = (limit: number) => {
  let free = limit;
  const waiting: (() => void)[] = [];
  return async <T>(work: () => Promise<T>): Promise<T> => {
    if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve));
    else free--;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
};

const realRootfs = { mount: mountRootfs, unmount: unmountRootfs };

export const startTaskRunner = async (options: TaskRunnerOptions): Promise<TaskRunner> => {
  const { tasksDir, runtime, images, wiring, clock, logger, report } = options;
  const { rootfs = realRootfs, sockets = containerSockets } = options;
  const entries = new Map<string, Entry>();
  const limited = semaphore(PREPARING_AT_ONCE);
  let view: AssignedView = emptyView;
  let closed = false;
  let whenIdle: (() => void) | undefined;

  const poke = (entry: Entry): void => {
    entry.changed = true;
    entry.wake?.();
  };

  const watchExit = (entry: Entry): void => {
    runtime.wait(entry.task.id).then(
      (exit) => {
        entry.container = "exited";
        entry.exit = exit;
        poke(entry);
      },
      (error) => {
        if (!closed && entry.container !== "none")
          logger.error("wait for container failed", { task: entry.task.id, error });
      },
    );
  };

  const setStatus = (entry: Entry, state: TaskState, message: string, error = ""): void => {
    entry.status = {
      ...entry.status,
      state,
      message,
      error,
      at: clock.now(),
      exitCode: entry.exit?.code ?? entry.status.exitCode,
      containerId: entry.task.id,
    };
    saveTask(tasksDir, { ...entry.task, status: entry.status });
    if (entry.assigned) report({ taskId: entry.task.id, status: entry.status });
  };

  const prepare = async (entry: Entry): Promise<void> => {
    const { task } = entry;
    const container = task.spec!.container!;
    const image = imageOf(task);
    if (!image)
      throw refuse(
        "not_found",
        "image",
        `${container.image} is not on this node`,
        "Load it here: tsctl image load -i FILE",
      );
    const paths = taskPaths(tasksDir, task.id);
    mkdirSync(paths.dir, { recursive: true, mode: 0o700 });
    entry.holdsResources = true;
    const { merged } = rootfs.mount({ image, dir: paths.rootfs });
    const netns = await wiring.attach(task);
    entry.netns = netns;
    writeEtcFiles({ task, netns, paths, hostGateway: wiring.address() });
    const hostname = hostnameOf(task, netns);
    const spec = containerSpec({ task, image: image.config, rootfs: merged, netns, hostname, paths });
    const { pid } = await limited(() => runtime.create(spec));
    entry.container = "created";
    entry.status = { ...entry.status, pid };
  };

  const release = async (entry: Entry): Promise<void> => {
    const { id } = entry.task;
    entry.container = "none";
    await runtime.remove(id);
    await wiring.detach(id);
    rootfs.unmount({ dir: taskPaths(tasksDir, id).rootfs });
    entry.holdsResources = false;
  };

  const imageOf = (task: Task) => {
    const container = task.spec!.container!;
    return images.resolve(container.imageDigest) ?? images.resolve(container.image);
  };

  /** Until something happens to the task, or `ms` have passed. */
  const sleep = async (entry: Entry, ms: number): Promise<void> => {
    if (entry.changed || closed) return;
    await new Promise<void>((resolve) => {
      const cancel = clock.after(ms, resolve);
      entry.wake = () => {
        cancel();
        resolve();
      };
    });
    entry.wake = undefined;
  };

  const listens = (entry: Entry): Promise<void> => {
    const { task, netns, status } = entry;
    // On the host's network the ports are everybody's.
    if (netns === "host") return Promise.resolve();
    const ports = servedPorts(task, imageOf(task)?.config.exposedPorts ?? [], view.published);
    return untilItListens(sockets, status.pid, ports, async (ms) => {
      entry.changed = false;
      await sleep(entry, ms);
      const isWanted = entry.assigned && entry.task.desiredState <= TaskState.TASK_RUNNING;
      return !closed && entry.container === "running" && isWanted;
    });
  };

  /** One look at the clients of a task that is to stop, and a pause when there are some. */
  const drain = async (entry: Entry): Promise<void> => {
    const { task } = entry;
    entry.drainingSince ??= clock.monotonic();
    if (view.drained.has(task.id) && (await sockets.connections(entry.status.pid)) === 0) {
      entry.unused = true;
      return;
    }
    const since = clock.monotonic() - entry.drainingSince;
    if (since >= REPORT_DRAIN_MS && entry.status.message !== DRAINING) setStatus(entry, entry.status.state, DRAINING);
    await sleep(entry, Math.max(Math.min(LOOK_MS, drainMsOf(task) - since), 0));
  };

  const act = async (entry: Entry, { action }: Step): Promise<void> => {
    const { id } = entry.task;
    switch (action) {
      case "none":
        return;
      case "prepare":
        return prepare(entry);
      case "start":
        await limited(() => runtime.start(id));
        entry.container = "running";
        watchExit(entry);
        return listens(entry);
      case "drain":
        return drain(entry);
      case "stop": {
        const container = entry.task.spec!.container!;
        const image = imageOf(entry.task);
        entry.exit = await runtime.stop(
          id,
          container.stopSignal || image?.config.stopSignal || "SIGTERM",
          container.stopGraceMs || DEFAULT_GRACE_MS,
        );
        entry.container = "exited";
        return;
      }
      case "release":
        return release(entry);
      case "forget":
        deleteTask(tasksDir, id);
        entries.delete(id);
        if (entries.size === 0) whenIdle?.();
        return;
    }
  };

  const observe = (entry: Entry): Observed => ({
    container: entry.container,
    exitCode: entry.exit?.code ?? 0,
    oomKilled: entry.exit?.oomKilled ?? false,
    holdsResources: entry.holdsResources,
    inUse: isInUse(entry),
    assigned: entry.assigned,
  });

  /** Of a task that is to stop: its clients are waited for. */
  const isInUse = (entry: Entry): boolean => {
    const since = entry.drainingSince === undefined ? 0 : clock.monotonic() - entry.drainingSince;
    return entry.assigned && !entry.unused && mayWait(entry.task, entry.status.state, since, view);
  };

  const RETRY_MS = 1_000;
  const run = async (entry: Entry): Promise<void> => {
    while (!closed) {
      entry.changed = false;
      const todo = step(entry.status.state, entry.task.desiredState, observe(entry));
      if (todo === "nothing") {
        if (!entry.changed)
          await new Promise<void>((resolve) => {
            entry.wake = resolve;
          });
        entry.wake = undefined;
        continue;
      }
      try {
        await act(entry, todo);
        if (todo.action === "forget") return;
        if (todo.next !== entry.status.state) setStatus(entry, todo.next, todo.message, todo.error);
      } catch (thrown) {
        const error = TswarmError.from(thrown);
        logger.warn("task step failed", {
          task: entry.task.id,
          name: entry.task.name,
          action: todo.action,
          error: error.message,
        });
        if (todo.failed > entry.status.state) setStatus(entry, todo.failed, todo.message, error.message);
        // What can't be given back now is tried again; a task in its last state has nowhere else to go.
        else await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
      }
    }
  };

  const add = (task: Task, status: TaskStatus): Entry => {
    const entry: Entry = {
      task,
      status,
      assigned: true,
      container: "none",
      exit: undefined,
      holdsResources: false,
      netns: undefined,
      // A former process of this agent has waited already.
      drainingSince: status.message === DRAINING ? clock.monotonic() - Math.max(clock.now() - status.at, 0) : undefined,
      unused: false,
      wake: undefined,
      changed: false,
    };
    entries.set(task.id, entry);
    return entry;
  };

  // Adoption: what a former process of this agent left running goes on without noticing.
  const containers = new Map((await runtime.list()).map((c) => [c.id, c]));
  const { tasks: recorded, broken } = loadTasks(tasksDir);
  const adopted: Entry[] = [];
  for (const task of recorded) {
    const entry = add(task, task.status!);
    const found = containers.get(task.id);
    containers.delete(task.id);
    entry.holdsResources = true;
    if (entry.status.state < TaskState.TASK_READY) {
      // Cut off while it was prepared, perhaps after its container was created: what was made is made again.
      await runtime.remove(task.id);
      rootfs.unmount({ dir: taskPaths(tasksDir, task.id).rootfs });
    } else if (found) {
      entry.container = found.state;
      entry.exit = found.exit;
      if (found.state === "running") watchExit(entry);
      if (!isEnded(entry.status.state)) wiring.adopt(task);
    }
    adopted.push(entry);
  }
  for (const id of containers.keys()) {
    logger.warn("container without a task: removed", { id });
    await runtime.remove(id);
  }
  for (const id of broken) {
    rootfs.unmount({ dir: taskPaths(tasksDir, id).rootfs });
    deleteTask(tasksDir, id);
  }

  const launch = (entry: Entry): void =>
    void run(entry).catch((error) => logger.error("task loop failed", { task: entry.task.id, error }));

  /** Its networks may have changed while it runs. */
  const take = (entry: Entry, task: Task): void => {
    const before = entry.task;
    entry.task = task;
    const runs = entry.container === "running" && entry.netns !== "host";
    if (!runs || isDeepStrictEqual(before.attachments, task.attachments)) return;
    try {
      rewriteHosts(taskPaths(tasksDir, task.id), before, task);
      saveTask(tasksDir, { ...task, status: entry.status });
    } catch (error) {
      logger.error("/etc/hosts not changed", { task: task.id, error });
    }
  };

  let started = false;
  const assign = (next: AssignedView): void => {
    view = next;
    const { tasks } = view;
    for (const entry of entries.values()) {
      const task = tasks.get(entry.task.id);
      entry.assigned = task !== undefined;
      if (task) take(entry, task);
      poke(entry);
    }
    if (!started) for (const entry of adopted) launch(entry);
    started = true;
    for (const [id, task] of tasks) {
      if (entries.has(id)) continue;
      // Ended elsewhere in time (the record was forgotten after its release): nothing is left to do.
      if (isEnded(task.status?.state ?? 0)) continue;
      launch(
        add(
          task,
          task.status ?? {
            state: TaskState.TASK_ASSIGNED,
            at: 0,
            message: "",
            error: "",
            exitCode: 0,
            pid: 0,
            containerId: "",
          },
        ),
      );
    }
  };

  return {
    assign,
    statuses: () =>
      [...entries.values()]
        .filter((e) => e.assigned && e.status.state > TaskState.TASK_ASSIGNED)
        .map((e) => ({ taskId: e.task.id, status: e.status })),
    get(taskId) {
      const entry = entries.get(taskId);
      return entry && { task: entry.task, logPath: taskPaths(tasksDir, taskId).log };
    },
    running: () => [...entries.values()].filter((e) => e.container === "running").length,
    async removeAll() {
      assign(emptyView);
      if (entries.size > 0)
        await new Promise<void>((resolve) => {
          whenIdle = resolve;
        });
    },
    close() {
      closed = true;
      for (const entry of entries.values()) entry.wake?.();
      runtime.close();
    },
  };
};
