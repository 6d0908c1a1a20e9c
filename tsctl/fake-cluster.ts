// A control API in memory for the tests of tsctl: it makes tasks and lets the test decide what becomes of them.
import { refuse } from "#base/errors.ts";
import type { WatchEvent, WatchResponse } from "#proto/gen/control.ts";
import { Node, Service, type ServiceSpec, type StoreObject, Task, TaskState, UpdateState } from "#proto/gen/types.ts";
import type { Cli, Control, NodeLocal, Quorum } from "#tsctl/cli.ts";
import type { Configuration, Context } from "#tsctl/context.ts";
import { run } from "#tsctl/run.ts";

export const NOW = Date.UTC(2026, 10, 21, 12);
const idOf = (name: string) => `${name}-${"0123456789abcdefghijklmnop"}`.slice(0, 25);

type Watcher = (response: WatchResponse) => void;

export class FakeCluster {
  readonly services = new Map<string, Service>();
  readonly tasks = new Map<string, Task>();
  readonly calls: [string, unknown][] = [];
  /** What becomes of a new task; by default it runs at once. */
  onTask: (task: Task) => Partial<NonNullable<Task["status"]>>[] = () => [{ state: TaskState.TASK_RUNNING }];
  readonly nodes = [1, 2, 3].map((n) =>
    Node.fromPartial({
      id: idOf(`node${n}`),
      meta: { version: n },
      spec: { role: n === 3 ? 1 : 2, availability: 1, annotations: { labels: { rack: "a" } } },
      description: { hostname: `node-${n}`, engineVersion: "0.1.0" },
      status: { state: n === 3 ? 1 : 2, addr: `10.0.0.${n}` },
    }),
  );
  #version = 100;
  #watchers = new Set<Watcher>();

  emit(action: string, object: StoreObject["object"]): void {
    const events: WatchEvent[] = [{ action, object: { object }, previous: undefined }];
    for (const watcher of this.#watchers) watcher({ version: this.#version, events, snapshot: false });
  }

  putTask(task: Task): void {
    const stored = { ...task, meta: { createdAt: NOW, updatedAt: NOW, ...task.meta, version: ++this.#version } };
    this.tasks.set(task.id, stored);
    this.emit("update", { $case: "task", value: stored });
  }

  putService(service: Service): Service {
    const stored = { ...service, meta: { createdAt: NOW, updatedAt: NOW, ...service.meta, version: ++this.#version } };
    this.services.set(service.id, stored);
    this.emit("update", { $case: "service", value: stored });
    return stored;
  }

  /** Every slot without a task of the current spec gets one, which goes through what `onTask` says. */
  async reconcile(id: string): Promise<void> {
    const service = this.services.get(id);
    if (!service) return;
    const { name } = service.spec!.annotations!;
    for (const task of this.tasks.values())
      if (task.serviceId === id && (task.slot > service.spec!.replicas || task.specVersion !== service.specVersion))
        this.putTask({ ...task, desiredState: TaskState.TASK_SHUTDOWN });
    for (let slot = 1; slot <= service.spec!.replicas; slot++) {
      const of = [...this.tasks.values()].filter((t) => t.serviceId === id && t.slot === slot);
      if (of.some((t) => t.desiredState === TaskState.TASK_RUNNING)) continue;
      const task = Task.fromPartial({
        id: idOf(`${name}${slot}v${service.specVersion}`),
        serviceId: id,
        serviceName: name,
        slot,
        name: `${name}.${slot}`,
        nodeId: this.nodes[(slot - 1) % 3]!.id,
        spec: service.spec!.task!,
        specVersion: service.specVersion,
        status: { state: TaskState.TASK_NEW, at: NOW - 120_000 },
        desiredState: TaskState.TASK_RUNNING,
      });
      this.putTask(task);
      for (const status of this.onTask(task)) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        this.putTask({ ...task, status: { ...task.status!, at: NOW - 120_000, ...status } });
      }
    }
  }

  #find(ref: string): Service {
    const found = [...this.services.values()].find((s) => s.id === ref || s.spec?.annotations?.name === ref);
    if (!found) throw refuse("not_found", "ref", `no service "${ref}"`, "See tsctl service ls");
    return found;
  }

  #set(id: string, spec: ServiceSpec, previous?: Service): Service {
    const changed = JSON.stringify(spec.task) !== JSON.stringify(previous?.spec?.task);
    const service = this.putService(
      Service.fromPartial({
        ...previous,
        id,
        spec,
        previousSpec: previous?.spec,
        specVersion: changed ? this.#version + 1 : previous?.specVersion,
        updateStatus:
          previous && changed
            ? { state: UpdateState.UPDATE_UPDATING, startedAt: this.#version }
            : previous?.updateStatus,
      }),
    );
    setTimeout(async () => {
      await this.reconcile(id);
      const now = this.services.get(id);
      if (now?.updateStatus?.state === UpdateState.UPDATE_UPDATING)
        this.putService({ ...now, updateStatus: { ...now.updateStatus, state: UpdateState.UPDATE_COMPLETED } });
    }, 2);
    return service;
  }

  readonly control = new Proxy(
    {
      listNodes: async () => ({
        nodes: this.nodes.map((node, i) => ({ node, reachability: i < 2 ? "reachable" : "", leader: i === 0 })),
      }),
      getNode: async ({ ref }: { ref: string }) => ({
        node: {
          node: this.nodes.find((n) => [n.id, n.description?.hostname].includes(ref)),
          reachability: "",
          leader: false,
        },
      }),
      updateNode: async () => ({}),
      createNetwork: async ({ spec }: { spec: unknown }) => ({ network: { id: idOf("net"), spec } }),
      listNetworks: async () => ({ networks: [] }),
      removeNetwork: async () => ({ id: "" }),
      createService: async ({ spec }: { spec: ServiceSpec }) => ({
        service: this.#set(idOf(spec.annotations!.name), spec),
        warnings: [],
      }),
      getService: async ({ ref }: { ref: string }) => ({ service: this.#find(ref) }),
      listServices: async () => ({
        services: [...this.services.values()].map((service) => ({
          service,
          running: [...this.tasks.values()].filter((t) => t.serviceId === service.id && t.status?.state === 512).length,
          desired: service.spec!.replicas,
        })),
      }),
      updateService: async (r: { id: string; spec: ServiceSpec | undefined; rollback: boolean }) => {
        const current = this.#find(r.id);
        return { service: this.#set(r.id, r.rollback ? current.previousSpec! : r.spec!, current), warnings: [] };
      },
      removeService: async ({ ref }: { ref: string }) => {
        const { id } = this.#find(ref);
        const service = this.services.get(id)!;
        this.services.delete(id);
        setTimeout(() => this.emit("remove", { $case: "service", value: service }), 5);
        return { id };
      },
      listTasks: async ({ filters }: { filters: { key: string; values: string[] }[] }) => {
        const ids = filters.find((f) => f.key === "service")?.values;
        return { tasks: [...this.tasks.values()].filter((t) => !ids || ids.includes(t.serviceId)) };
      },
      deployStack: async (r: { networks: { annotations: { name: string } }[]; services: ServiceSpec[] }) => ({
        actions: [
          ...r.networks.map((n) => ({ kind: "network", name: n.annotations.name, action: "create", id: "" })),
          ...r.services.map((s) => ({ kind: "service", name: s.annotations!.name, action: "create", id: "" })),
        ],
      }),
      watch: (_: unknown, { signal }: { signal?: AbortSignal } = {}) => this.#watch(signal),
    } as Record<string, unknown>,
    {
      get: (methods, name: string) => {
        // A promise that is resolved with this object asks whether it is a promise itself.
        if (name === "then") return undefined;
        return (request: unknown, options: unknown) => {
          this.calls.push([name, request]);
          const method = methods[name] as ((request: unknown, options: unknown) => unknown) | undefined;
          return method ? method(request, options) : Promise.resolve({});
        };
      },
    },
  ) as unknown as Control;

  async *#watch(signal?: AbortSignal): AsyncGenerator<WatchResponse> {
    const held: WatchResponse[] = [{ version: this.#version, events: [], snapshot: false }];
    let wake = () => {};
    const watcher = (response: WatchResponse) => {
      held.push(response);
      wake();
    };
    signal?.addEventListener("abort", () => wake());
    this.#watchers.add(watcher);
    try {
      while (!signal?.aborted) {
        while (held.length > 0) yield held.shift()!;
        if (!signal?.aborted) await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#watchers.delete(watcher);
    }
  }
}

export type Ran = { out: string; err: string; code: number };

export type FakeOptions = {
  readonly env?: Record<string, string>;
  readonly files?: Record<string, string | Uint8Array>;
  readonly config?: Configuration;
  readonly testCluster?: Context;
  readonly tty?: boolean;
  readonly local?: Partial<NodeLocal>;
  readonly interrupt?: AbortSignal;
  readonly control?: Partial<Control>;
  readonly quorum?: Partial<Quorum>;
  /** Files that were written. */
  readonly saved?: Map<string, Uint8Array>;
  /** What is typed. */
  readonly input?: string | AsyncIterable<Uint8Array>;
  /** Resolves when the reader of standard output goes on reading; by default it always reads. */
  readonly drained?: () => Promise<void>;
};

/** Runs one command line against the cluster and says what it wrote and how it ended. Without one, it must not dial. */
export const tsctl = async (
  cluster: FakeCluster | undefined,
  line: string[],
  options: FakeOptions = {},
): Promise<Ran> => {
  const ran: Ran = { out: "", err: "", code: 0 };
  const sink = (key: "out" | "err") => ({
    write: (text: string | Uint8Array) => {
      ran[key] += typeof text === "string" ? text : Buffer.from(text).toString();
    },
    drained: options.drained ?? (async () => {}),
    isTTY: options.tty ?? false,
    columns: 120,
  });
  const dial = <T>(what: T | undefined): Promise<T> =>
    what ? Promise.resolve(what) : Promise.reject(new Error("dialed before the input was judged"));
  let now = NOW;
  let config: Configuration = options.config ?? { contexts: {} };
  const read = async (path: string) => {
    const text = options.files?.[path];
    if (text === undefined) throw new Error("no such file");
    return typeof text === "string" ? Buffer.from(text) : text;
  };
  const cli: Cli = {
    out: sink("out"),
    err: sink("err"),
    in: {
      isTTY: false,
      raw: () => () => {},
      bytes: async function* () {
        if (typeof options.input === "object") yield* options.input;
        else if (options.input !== undefined) yield Buffer.from(options.input);
      },
    },
    env: options.env ?? {},
    now: () => now,
    // Time passes only by sleeping, a few real milliseconds for whatever was asked.
    sleep: async (ms, signal) => {
      await new Promise((resolve) => setTimeout(resolve, Math.min(ms, 20)));
      if (!signal?.aborted) now += ms;
    },
    control: () => dial(cluster && merged(cluster, options)),
    local: () =>
      dial(cluster && ((options.local ?? { info: async () => ({ nodeId: cluster.nodes[0]!.id }) }) as NodeLocal)),
    quorum: () => dial(cluster && ((options.quorum ?? {}) as Quorum)),
    interrupt: () => options.interrupt ?? new AbortController().signal,
    onResize: () => () => {},
    terminalSize: () => ({ rows: 24, columns: 80 }),
    read,
    pieces: async function* (path) {
      yield await read(path);
    },
    save: async (path, pieces, check) => {
      const written: Uint8Array[] = [];
      for await (const piece of pieces) written.push(piece);
      await check(
        (async function* () {
          yield* written;
        })(),
      );
      options.saved?.set(path, Buffer.concat(written));
    },
    contexts: {
      configPath: "/config.json",
      clusterPath: "/build/cluster/context.json",
      config: () => config,
      saveConfig: (next) => {
        config = next;
      },
      cluster: () => options.testCluster,
    },
    version: () => "1.2.3",
    exit: (code) => {
      ran.code = code;
    },
  };
  await run(line, () => cli);
  return ran;
};

const merged = (cluster: FakeCluster, options: FakeOptions): Control =>
  options.control
    ? (new Proxy(cluster.control, {
        get: (target, name) => Reflect.get(options.control as object, name) ?? Reflect.get(target, name),
      }) as Control)
    : cluster.control;
