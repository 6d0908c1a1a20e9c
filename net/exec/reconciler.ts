// Makes the host's kernel what it should be: plan, execute, and when something failed, look again and try the rest.
// Between runs it remembers the state (every op that the kernel took is applied to the memory too), so that a run costs what
// changes, not what is there. A dump is made at the start, after an error, and on `repair`. Synchronous: lives in a worker.

import { TswarmError } from "#base/errors.ts";
import { execute } from "#net/exec/executor.ts";
import { Kernel, type KernelPlace } from "#net/exec/kernel.ts";
import { KernelModel } from "#net/exec/kernel-model.ts";
import { learnSysctls, observe } from "#net/exec/observe.ts";
import { Rulesets } from "#net/exec/rulesets.ts";
import { deleteFlows } from "#net/kernel/conntrack.ts";
import { emptyHostNetworks, type HostNetworks } from "#net/model/host-networks.ts";
import { type FlowWays, flowWays, staleFlows } from "#net/plan/nat/stale-flows.ts";
import type { NetOp } from "#net/plan/op.ts";
import { LIMITS, type Limits, planTarget, targetOf } from "#net/plan/plan-host.ts";
import { render } from "#net/plan/render.ts";

export type ApplyError = {
  /** Whose namespace: "" is the host's. Containers in it, or on the overlay it belongs to, are not wired. */
  readonly namespace: string;
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
  /** `repair` only: what differed from what had been applied before, as ops. */
  readonly drift: readonly string[];
  /** Namespaces in which flows to backends that are gone were not looked for, and why; the next run tries again. */
  readonly flowErrors: readonly string[];
};

const ATTEMPTS = 3;
/** Before each further attempt. */
const PAUSE_MS = 30;
/** The kernel deletes a namespace's links some time after the namespace, so what is taken may be free soon. */
const TAKEN_PAUSES_MS = [PAUSE_MS, PAUSE_MS, 100, 300, 1_000];

type Outcome = Pick<ApplyReport, "ops" | "errors"> & Partial<Pick<ApplyReport, "flowErrors" | "drift">>;

export class Reconciler {
  readonly #kernel: Kernel;
  readonly #limits: Limits;
  readonly #rulesets = new Rulesets();
  #memory: KernelModel | undefined;
  /** Where flows could go after the last run that left no error. */
  #ways: FlowWays | undefined;

  constructor(place: KernelPlace, limits: Limits = LIMITS) {
    this.#kernel = new Kernel(place);
    this.#limits = limits;
  }

  apply(desired: HostNetworks): ApplyReport {
    return this.#timed(() => this.#converge(desired));
  }

  /** As `apply`, from a fresh dump: finds and repairs what others changed. */
  repair(desired: HostNetworks): ApplyReport {
    this.#memory = undefined;
    this.#ways = undefined;
    return this.#timed(() => {
      const result = this.#converge(desired);
      return { ...result, drift: result.first.map(render) };
    });
  }

  /** Removes everything that is ours. */
  teardown(): ApplyReport {
    this.#memory = undefined;
    const report = this.#timed(() => this.#converge(emptyHostNetworks({ vtep: "", dataPathPort: 0 })));
    if (report.errors.length === 0) this.#kernel.removeEmptyFolder();
    return report;
  }

  #converge(desired: HostNetworks): Outcome & { readonly first: readonly NetOp[] } {
    let done = 0;
    let errors: ApplyError[] = [];
    let first: readonly NetOp[] = [];
    for (let attempt = 0; attempt < attemptsAfter(errors); attempt++) {
      if (attempt > 0) pause(TAKEN_PAUSES_MS[attempt - 1]!);
      this.#memory ??= new KernelModel(observe(this.#kernel));
      let ops: readonly NetOp[];
      try {
        const target = targetOf(desired, this.#memory.state, this.#limits);
        learnSysctls(this.#kernel, target, this.#memory.state);
        this.#rulesets.compare(target, this.#memory.state);
        ops = planTarget(target, this.#memory.state);
      } catch (error) {
        const { code, message } = TswarmError.from(error);
        return { ops: done, errors: [{ namespace: "", object: "plan", code, reason: message }], first };
      }
      if (attempt === 0) first = ops;
      errors = this.#run(ops);
      done += ops.length - errors.length;
      if (errors.length === 0) break;
      this.#memory = undefined;
    }
    return { ops: done, errors, first, flowErrors: this.#dropFlows(desired) };
  }

  #run(ops: readonly NetOp[]): ApplyError[] {
    const errors: ApplyError[] = [];
    const memory = this.#memory!;
    execute(ops, this.#kernel, (op, error) => {
      if (error === null) {
        // After an error the memory is dropped: what the kernel has now may not be what it knows.
        if (errors.length === 0) memory.apply(op);
      } else errors.push({ namespace: op.ns, object: render(op), code: error.code, reason: error.message });
    });
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
    try {
      const { ops, errors, flowErrors = [], drift = [] } = run();
      return { ops, errors, flowErrors, drift, durationUs: Number((process.hrtime.bigint() - start) / 1000n) };
    } finally {
      this.#kernel.releaseAll();
    }
  }
}

const attemptsAfter = (errors: readonly ApplyError[]): number =>
  errors.some(({ code }) => code === "conflict") ? TAKEN_PAUSES_MS.length + 1 : ATTEMPTS;

const pause = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
