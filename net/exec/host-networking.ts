// The networking of this host, for the agent: hand over what should be, get told what was done. Requests run one at a time
// in a worker; while one runs, later ones wait and are merged into one with the latest desired state.

import { Worker } from "node:worker_threads";
import { TswarmError } from "#base/errors.ts";
import { type KernelPlace, netnsPathOf } from "#net/exec/kernel.ts";
import type { ApplyReport, InspectReport } from "#net/exec/reconciler.ts";
import type { WorkerMessage, WorkerRequest } from "#net/exec/worker.ts";
import type { HostNetworks } from "#net/model/host-networks.ts";

export type { ApplyError, ApplyReport, InspectReport } from "#net/exec/reconciler.ts";

type ChangeRequest = Exclude<WorkerRequest, { kind: "inspect" }>;
type Batch =
  | { readonly kind: "change"; request: ChangeRequest; readonly done: PromiseWithResolvers<ApplyReport> }
  | { readonly kind: "inspect"; readonly request: WorkerRequest; readonly done: PromiseWithResolvers<InspectReport> };

export class HostNetworking {
  readonly #place: KernelPlace;
  readonly #worker: Worker;
  #running: Batch | undefined;
  #next: Extract<Batch, { kind: "change" }> | undefined;
  readonly #inspections: Extract<Batch, { kind: "inspect" }>[] = [];
  #ended: TswarmError | undefined;

  private constructor(place: KernelPlace, onDisturbed: (namespaces: readonly string[]) => void) {
    this.#place = place;
    this.#worker = new Worker(new URL(import.meta.resolve("#net/exec/worker.ts")), { workerData: place });
    this.#worker.on("message", (message: WorkerMessage) => {
      if (message.kind === "disturbed") onDisturbed(message.namespaces);
      // The worker answers in the order it was asked.
      else this.#finish((batch) => batch.done.resolve(message.report as never));
    });
    this.#worker.on("error", (error) => this.#fail(TswarmError.from(error)));
    this.#worker.on("exit", () => this.#fail(new TswarmError("internal", "The networking worker has ended.")));
  }

  /** `onDisturbed`: others changed something of ours in these namespaces ("" is the host's). */
  static async start(
    place: KernelPlace,
    onDisturbed: (namespaces: readonly string[]) => void = () => {},
  ): Promise<HostNetworking> {
    const networking = new HostNetworking(place, onDisturbed);
    await new Promise<void>((resolve, reject) => {
      networking.#worker.once("online", resolve);
      networking.#worker.once("error", reject);
    });
    return networking;
  }

  /** Where the namespace of that name is (or will be), for a runtime to join. */
  netnsPath(name: string): string {
    return netnsPathOf(this.#place.runDir, name);
  }

  /** Resolves when this or a later desired state has been applied; failures of single objects are in the report. */
  apply(desired: HostNetworks): Promise<ApplyReport> {
    return this.#enqueue({ kind: "apply", desired });
  }

  /** As `apply`, after looking at these namespaces again, or at everything: repairs what others changed. */
  repair(desired: HostNetworks, namespaces?: ReadonlySet<string>): Promise<ApplyReport> {
    return this.#enqueue({ kind: "repair", desired, ...(namespaces && { namespaces }) });
  }

  /** What differs, from a fresh look at everything. Changes nothing. */
  inspect(desired: HostNetworks): Promise<InspectReport> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const batch: Batch = {
      kind: "inspect",
      request: { kind: "inspect", desired },
      done: Promise.withResolvers<InspectReport>(),
    };
    this.#inspections.push(batch);
    this.#proceed();
    return batch.done.promise;
  }

  /** Removes everything that is ours from the kernel. */
  teardown(): Promise<ApplyReport> {
    return this.#enqueue({ kind: "teardown" });
  }

  /** Ends the worker; what was wired stays. */
  async stop(): Promise<void> {
    this.#ended ??= new TswarmError("cancelled", "Networking was stopped.");
    await this.#worker.terminate();
  }

  #enqueue(request: ChangeRequest): Promise<ApplyReport> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (this.#next === undefined) this.#next = { kind: "change", request, done: Promise.withResolvers() };
    else this.#next.request = merged(this.#next.request, request);
    const { promise } = this.#next.done;
    this.#proceed();
    return promise;
  }

  /** Changes before questions. */
  #proceed(): void {
    if (this.#running !== undefined) return;
    if (this.#next !== undefined) {
      this.#running = this.#next;
      this.#next = undefined;
    } else this.#running = this.#inspections.shift();
    if (this.#running !== undefined) this.#worker.postMessage(this.#running.request);
  }

  #finish(settle: (batch: Batch) => void): void {
    const finished = this.#running!;
    this.#running = undefined;
    this.#proceed();
    settle(finished);
  }

  #fail(error: TswarmError): void {
    this.#ended ??= error;
    for (const batch of [this.#running, this.#next, ...this.#inspections.splice(0)]) batch?.done.reject(this.#ended);
    this.#running = this.#next = undefined;
  }
}

/** One request for two: the later desired state, and a repair of all that either wanted to be looked at. */
const merged = (earlier: ChangeRequest, later: ChangeRequest): ChangeRequest => {
  if (earlier.kind !== "repair" || later.kind === "teardown") return later;
  const { desired } = later;
  const all = later.kind === "repair" && later.namespaces === undefined ? undefined : earlier.namespaces;
  if (all === undefined) return { kind: "repair", desired };
  return {
    kind: "repair",
    desired,
    namespaces: new Set([...all, ...((later.kind === "repair" && later.namespaces) || [])]),
  };
};
