// A runtime without processes, for tests of the agent: strict about the order of calls, and driven by the test (`exit`, `fail`).
import { PassThrough } from "node:stream";
import { refuse, TswarmError } from "#base/errors.ts";
import type { ContainerInfo, ContainerSpec, ContainerState, ExecSpec, ExitStatus, Runtime } from "./runtime.ts";

type Operation = "create" | "start" | "signal" | "stop" | "remove" | "exec";
type Container = {
  readonly spec: ContainerSpec;
  readonly pid: number;
  state: ContainerState;
  exit?: ExitStatus;
  readonly exited: PromiseWithResolvers<ExitStatus>;
};

export class FakeRuntime implements Runtime {
  /** Calls in order: "create id", "signal id SIGTERM". */
  readonly calls: string[] = [];
  /** Containers that ignore every signal but SIGKILL, by id. */
  readonly stubborn = new Set<string>();
  readonly #containers = new Map<string, Container>();
  readonly #failures = new Map<string, Error>();
  #nextPid = 1000;

  /** The next such call for this id rejects. */
  fail(operation: Operation, id: string, error = new TswarmError("internal", `${operation} fails`)): void {
    this.#failures.set(`${operation} ${id}`, error);
  }

  /** The container's process ends by itself. */
  exit(id: string, code: number, oomKilled = false): void {
    const container = this.#get(id);
    if (container.state === "exited") return;
    container.state = "exited";
    container.exit = { code, oomKilled, at: Date.now() };
    container.exited.resolve(container.exit);
  }

  spec(id: string): ContainerSpec {
    return this.#get(id).spec;
  }

  async create(spec: ContainerSpec): Promise<{ pid: number }> {
    this.#call("create", spec.id);
    if (this.#containers.has(spec.id))
      throw refuse("name_conflict", "id", `container ${spec.id} exists`, "Remove it first");
    const pid = this.#nextPid++;
    this.#containers.set(spec.id, { spec, pid, state: "created", exited: Promise.withResolvers() });
    return { pid };
  }

  async start(id: string): Promise<void> {
    this.#call("start", id);
    const container = this.#get(id);
    if (container.state !== "created") throw new TswarmError("conflict", `container ${id} is ${container.state}`);
    container.state = "running";
  }

  async signal(id: string, signal: string): Promise<void> {
    this.#call("signal", id, signal);
    if (signal === "SIGKILL") this.exit(id, 137);
    else if (signal === "SIGTERM" && !this.stubborn.has(id)) this.exit(id, 143);
  }

  async stop(id: string, signal: string, graceMs: number): Promise<ExitStatus> {
    this.#call("stop", id, `${signal} ${graceMs}`);
    this.exit(id, this.stubborn.has(id) ? 137 : 143);
    return this.wait(id);
  }

  async wait(id: string): Promise<ExitStatus> {
    return this.#get(id).exited.promise;
  }

  async remove(id: string): Promise<void> {
    this.#call("remove", id);
    if (!this.#containers.has(id)) return;
    this.exit(id, 137);
    this.#containers.delete(id);
  }

  async list(): Promise<ContainerInfo[]> {
    return [...this.#containers.values()].map(({ spec, pid, state, exit }) => ({
      ...{ id: spec.id, pid, state, logPath: spec.logPath, labels: spec.labels },
      ...(exit && { exit }),
    }));
  }

  /** Echoes stdin to stdout and exits with 0 when stdin ends. */
  async exec(id: string, spec: ExecSpec) {
    this.#call("exec", id, spec.args.join(" "));
    if (this.#get(id).state !== "running") throw new TswarmError("conflict", `container ${id} is not running`);
    const stdin = new PassThrough();
    const killed = Promise.withResolvers<number>();
    const ended = new Promise<number>((resolve) => stdin.once("end", () => resolve(0)));
    const kill = () => {
      killed.resolve(137);
      stdin.end();
    };
    const exit = Promise.race([killed.promise, ended]);
    return { stdin, stdout: stdin, stderr: new PassThrough().end(), resize: () => {}, exit, kill };
  }

  async pids(id: string): Promise<number[]> {
    const { pid, state } = this.#get(id);
    return state === "exited" ? [] : [pid];
  }

  async stats(id: string) {
    const { limits } = this.#get(id).spec;
    return { cpuUsageUs: 0, memoryBytes: 1 << 20, memoryLimitBytes: limits.memoryBytes, pids: 1 };
  }

  close(): void {}

  #get(id: string): Container {
    const container = this.#containers.get(id);
    if (!container) throw new TswarmError("not_found", `container ${id}: there is none on this node`);
    return container;
  }

  #call(operation: Operation, id: string, details = ""): void {
    this.calls.push(`${operation} ${id}${details && ` ${details}`}`);
    const failure = this.#failures.get(`${operation} ${id}`);
    this.#failures.delete(`${operation} ${id}`);
    if (failure) throw failure;
  }
}
