// Makes the host's kernel what it should be: plan, execute, and when something failed, look again and try the rest.
// Between runs it remembers the state (every op that the kernel took is applied to the memory too), so that a run costs what
// changes, not what is there. A dump is made at the start, after an error, and on `repair` (of the namespaces that were
// disturbed, or of all). Synchronous: lives in a worker.

import { TswarmError } from "#base/errors.ts";
import { execute } from "#net/exec/executor.ts";
import { Kernel, type KernelPlace } from "#net/exec/kernel.ts";
import { KernelModel } from "#net/exec/kernel-model.ts";
import { learnPaths, learnSysctls, observe, observeAgain } from "#net/exec/observe.ts";
import { Rulesets } from "#net/exec/rulesets.ts";
import { Watch } from "#net/exec/watch.ts";
import { deleteFlows } from "#net/kernel/conntrack.ts";
import { emptyHostNetworks, type HostNetworks } from "#net/model/host-networks.ts";
import { type HostState, linkOfSysctl } from "#net/model/host-state.ts";
import { countObjects, type Difference, differencesOf } from "#net/plan/differences.ts";
import { type FlowWays, flowWays, staleFlows } from "#net/plan/nat/stale-flows.ts";
import type { NetOp } from "#net/plan/op.ts";
import { LIMITS, type Limits, planTarget, targetOf } from "#net/plan/plan-host.ts";
import { render } from "#net/plan/render.ts";
import type { Target } from "#net/plan/target.ts";

export type ApplyError = {
  /** Whose namespace: "" is the host's. Containers in it, or on the overlay it belongs to, are not wired. */
  readonly namespace: string;
  /** The link that the op works on; "" when it is about none. */
  readonly link: string;
  /** The op, or "plan". */
  readonly object: string;
  readonly code: string;
  readonly reason: string;
};

export type ApplyReport = {
  /** Changes of the kernel. */
  readonly ops: number;
  readonly durationUs: number;
  /** What could not be done, after the last attempt. */
  readonly errors: readonly ApplyError[];
  /** What others changed of what had been applied before, as far as this run looked. */
  readonly drift: readonly Difference[];
  /** Namespaces in which flows to backends that are gone were not looked for, and why; the next run tries again. */
  readonly flowErrors: readonly string[];
};

export type InspectReport = {
  readonly durationUs: number;
  readonly differences: readonly Difference[];
  /** Objects that were compared. */
  readonly checked: number;
};

/** Each op is told by a few notifications; the sockets hold some thousands. */
const OPS_BETWEEN_DRAINS = 64;
const ATTEMPTS = 3;
/** Before each further attempt. */
const PAUSE_MS = 30;
/** The kernel deletes a namespace's links some time after the namespace, so what is taken may be free soon. */
const TAKEN_PAUSES_MS = [PAUSE_MS, PAUSE_MS, 100, 300, 1_000];

type Outcome = Pick<ApplyReport, "ops" | "errors"> & Partial<Pick<ApplyReport, "flowErrors" | "drift">>;

export type ReconcilerOptions = {
  readonly limits?: Limits;
  /** Others changed something of ours in these namespaces; called from the loop. Absent: nobody watches. */
  readonly onDisturbed?: (namespaces: readonly string[]) => void;
};

export class Reconciler {
  readonly #kernel: Kernel;
  readonly #limits: Limits;
  readonly #rulesets = new Rulesets();
  readonly #watch: Watch | undefined;
  #memory: KernelModel | undefined;
  /** What was wanted when the kernel was last made so: what differs from it, others changed. */
  #applied: HostNetworks | undefined;
  /** Where flows could go after the last run that left no error. */
  #ways: FlowWays | undefined;

  constructor(place: KernelPlace, { limits = LIMITS, onDisturbed }: ReconcilerOptions = {}) {
    this.#kernel = new Kernel(place);
    this.#limits = limits;
    if (onDisturbed !== undefined) this.#watch = new Watch(this.#kernel, onDisturbed);
  }

  apply(desired: HostNetworks): ApplyReport {
    return this.#timed(() => this.#converge(desired));
  }

  /** As `apply`, after looking again: at these namespaces, or at everything. Finds and repairs what others changed. */
  repair(desired: HostNetworks, namespaces?: ReadonlySet<string>): ApplyReport {
    if (namespaces === undefined) this.#ways = undefined;
    return this.#timed(() => {
      const state =
        this.#memory === undefined || namespaces === undefined
          ? observe(this.#kernel)
          : observeAgain(this.#kernel, this.#memory.state, namespaces);
      this.#memory = new KernelModel(state);
      const drift = this.#applied === undefined ? [] : this.#compare(this.#applied, state).differences;
      return { ...this.#converge(desired), drift };
    });
  }

  /** What differs, from a fresh look at everything. Changes nothing. */
  inspect(desired: HostNetworks): InspectReport {
    const start = process.hrtime.bigint();
    try {
      return { ...this.#compare(desired, observe(this.#kernel)), durationUs: microsecondsSince(start) };
    } finally {
      this.#kernel.releaseAll();
    }
  }

  /** Removes everything that is ours. */
  teardown(): ApplyReport {
    this.#memory = undefined;
    const report = this.#timed(() => this.#converge(emptyHostNetworks({ vtep: "", dataPathPort: 0 })));
    if (report.errors.length === 0) this.#kernel.removeEmptyFolder();
    return report;
  }

  close(): void {
    this.#watch?.close();
  }

  /** Throws as `targetOf` does. */
  #targetFor(desired: HostNetworks, state: HostState): Target {
    learnPaths(this.#kernel, desired, state);
    const target = targetOf(desired, state, this.#limits);
    learnSysctls(this.#kernel, target, state);
    this.#rulesets.compare(target, state);
    return target;
  }

  #compare(desired: HostNetworks, state: HostState): Omit<InspectReport, "durationUs"> {
    try {
      const target = this.#targetFor(desired, state);
      return { differences: differencesOf(planTarget(target, state), target, state), checked: countObjects(target) };
    } catch (error) {
      const { message } = TswarmError.from(error);
      const problem = { kind: "address", namespace: "", object: desired.node.vtep, problem: "missing" } as const;
      return { differences: [{ ...problem, expected: message, found: "" }], checked: 0 };
    }
  }

  #converge(desired: HostNetworks): Outcome {
    let done = 0;
    let errors: ApplyError[] = [];
    for (let attempt = 0; attempt < attemptsAfter(errors); attempt++) {
      if (attempt > 0) pause(TAKEN_PAUSES_MS[attempt - 1]!);
      this.#memory ??= new KernelModel(observe(this.#kernel));
      let ops: readonly NetOp[];
      try {
        ops = planTarget(this.#targetFor(desired, this.#memory.state), this.#memory.state);
      } catch (error) {
        const { code, message } = TswarmError.from(error);
        return { ops: done, errors: [{ namespace: "", link: "", object: "plan", code, reason: message }] };
      }
      errors = this.#run(ops);
      done += ops.length - errors.length;
      if (errors.length === 0) break;
      this.#memory = undefined;
    }
    this.#applied = desired;
    return { ops: done, errors, flowErrors: this.#dropFlows(desired) };
  }

  #run(ops: readonly NetOp[]): ApplyError[] {
    const errors: ApplyError[] = [];
    const memory = this.#memory!;
    let count = 0;
    let understood = true;
    execute(ops, this.#kernel, (op, error) => {
      if (op.op === "nft-set" || op.op === "nft-choices" || op.op === "nft-del") this.#watch?.wroteRules(op.ns);
      if (++count % OPS_BETWEEN_DRAINS === 0) this.#watch?.underWay();
      if (error !== null) {
        const { code, message: reason } = error;
        errors.push({ namespace: op.ns, link: linkOf(op), object: render(op), code, reason });
      }
      // After an error the memory is dropped: what the kernel has now may not be what it knows.
      else if (errors.length === 0 && understood) understood = remember(memory, op);
    });
    if (!understood) this.#memory = undefined;
    return errors;
  }

  /** After the rules were changed: flows that are deleted before would be translated as they were. */
  #dropFlows(desired: HostNetworks): string[] {
    const errors: string[] = [];
    const ways = flowWays(desired);
    for (const [namespace, isStale] of staleFlows(desired, ways, this.#ways)) {
      try {
        deleteFlows(
          this.#kernel.path(namespace),
          ({ original: { protocol, destination, destinationPort }, reply }) =>
            destination !== reply.source && isStale({ protocol, destination, destinationPort, target: reply.source }),
        );
      } catch (error) {
        errors.push(`${namespace === "" ? "host" : namespace}: ${TswarmError.from(error).message}`);
      }
    }
    this.#ways = errors.length === 0 ? ways : undefined;
    return errors;
  }

  #timed(run: () => Outcome): ApplyReport {
    const start = process.hrtime.bigint();
    this.#watch?.begin();
    try {
      const { ops, errors, flowErrors = [], drift = [] } = run();
      return { ops, errors, flowErrors, drift, durationUs: microsecondsSince(start) };
    } finally {
      this.#watch?.end(this.#memory?.state);
      this.#kernel.releaseAll();
    }
  }
}

/** False: the kernel took what the memory would not, so the memory was wrong. */
const remember = (memory: KernelModel, op: NetOp): boolean => {
  try {
    memory.apply(op);
    return true;
  } catch {
    return false;
  }
};

const microsecondsSince = (start: bigint): number => Number((process.hrtime.bigint() - start) / 1000n);

const linkOf = (op: NetOp): string => {
  if ("name" in op) return op.name;
  if ("link" in op) return op.link;
  return op.op === "sysctl-set" ? (linkOfSysctl(op.key) ?? "") : "";
};

const attemptsAfter = (errors: readonly ApplyError[]): number =>
  errors.some(({ code }) => code === "conflict") ? TAKEN_PAUSES_MS.length + 1 : ATTEMPTS;

const pause = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
