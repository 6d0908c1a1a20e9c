// The networking of this host, for the agent: hand over what should be, get told what was done. Requests run one at a time
// in a worker; while one runs, later ones wait and are merged into one with the latest desired state.

import { Worker } from "node:worker_threads";
import { TswarmError } from "#base/errors.ts";
import { type KernelPlace, netnsPathOf } from "#net/exec/kernel.ts";
import type { ApplyReport } from "#net/exec/reconciler.ts";
import type { WorkerRequest } from "#net/exec/worker.ts";
import type { HostNetworks } from "#net/model/host-networks.ts";

export type { ApplyError, ApplyReport } from "#net/exec/reconciler.ts";

type Batch = { request: WorkerRequest; readonly done: PromiseWithResolvers<ApplyReport> };

export class HostNetworking {
  readonly #place: KernelPlace;
  readonly #worker: Worker;
  #running: Batch | undefined;
  #next: Batch | undefined;
  #ended: TswarmError | undefined;

  private constructor(place: KernelPlace) {
    this.#place = place;
    this.#worker = new Worker(new URL(import.meta.resolve("#net/exec/worker.ts")), { workerData: place });
    this.#worker.on("message", (report: ApplyReport) => this.#finish((batch) => batch.done.resolve(report)));
    this.#worker.on("error", (error) => this.#fail(TswarmError.from(error)));
    this.#worker.on("exit", () => this.#fail(new TswarmError("internal", "The networking worker has ended.")));
  }

  static async start(place: KernelPlace): Promise<HostNetworking> {
    const networking = new HostNetworking(place);
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

  /** As `apply`, after looking at the kernel again: repairs what others changed. */
  repair(desired: HostNetworks): Promise<ApplyReport> {
    return this.#enqueue({ kind: "repair", desired });
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

  #enqueue(request: WorkerRequest): Promise<ApplyReport> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (this.#running === undefined) {
      this.#running = { request, done: Promise.withResolvers() };
      this.#worker.postMessage(request);
      return this.#running.done.promise;
    }
    if (this.#next === undefined) this.#next = { request, done: Promise.withResolvers() };
    else {
      // A repair that waits stays a repair, whatever desired state it gets.
      const repairs = this.#next.request.kind === "repair" && request.kind === "apply";
      this.#next.request = repairs ? { ...request, kind: "repair" } : request;
    }
    return this.#next.done.promise;
  }

  #finish(settle: (batch: Batch) => void): void {
    const finished = this.#running!;
    this.#running = this.#next;
    this.#next = undefined;
    if (this.#running !== undefined) this.#worker.postMessage(this.#running.request);
    settle(finished);
  }

  #fail(error: TswarmError): void {
    this.#ended ??= error;
    for (const batch of [this.#running, this.#next]) batch?.done.reject(this.#ended);
    this.#running = this.#next = undefined;
  }
}
