// The thread that changes the kernel: deleting a link waits milliseconds inside a system call, which must not stall the
// agent's loop. One request at a time, in order. In between it watches the kernel, and says when others changed something.

import { flushCompileCache } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import type { KernelPlace } from "#net/exec/kernel.ts";
import { type ApplyReport, type InspectReport, Reconciler } from "#net/exec/reconciler.ts";
import type { HostNetworks } from "#net/model/host-networks.ts";

export type WorkerRequest =
  | { readonly kind: "apply"; readonly desired: HostNetworks }
  /** `namespaces` absent: all. */
  | { readonly kind: "repair"; readonly desired: HostNetworks; readonly namespaces?: ReadonlySet<string> }
  | { readonly kind: "inspect"; readonly desired: HostNetworks }
  | { readonly kind: "teardown" };

export type WorkerMessage =
  | { readonly kind: "done"; readonly report: ApplyReport | InspectReport }
  | { readonly kind: "disturbed"; readonly namespaces: readonly string[] };

const say = (message: WorkerMessage): void => parentPort!.postMessage(message);

const reconciler = new Reconciler(workerData as KernelPlace, {
  onDisturbed: (namespaces) => say({ kind: "disturbed", namespaces }),
});

const answer = (request: WorkerRequest): ApplyReport | InspectReport => {
  switch (request.kind) {
    case "apply":
      return reconciler.apply(request.desired);
    case "repair":
      return reconciler.repair(request.desired, request.namespaces);
    case "inspect":
      return reconciler.inspect(request.desired);
    case "teardown":
      return reconciler.teardown();
  }
};

parentPort!.on("message", (request: WorkerRequest) => say({ kind: "done", report: answer(request) }));
flushCompileCache();
