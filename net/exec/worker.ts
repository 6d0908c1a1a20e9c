// The thread that changes the kernel: deleting a link waits milliseconds inside a system call, which must not stall the
// agent's loop. One request at a time, in order.

import { flushCompileCache } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import type { KernelPlace } from "#net/exec/kernel.ts";
import { type ApplyReport, Reconciler } from "#net/exec/reconciler.ts";
import type { HostNetworks } from "#net/model/host-networks.ts";

export type WorkerRequest =
  | { readonly kind: "apply" | "repair"; readonly desired: HostNetworks }
  | { readonly kind: "teardown" };

const reconciler = new Reconciler(workerData as KernelPlace);

const answer = (request: WorkerRequest): ApplyReport => {
  switch (request.kind) {
    case "apply":
      return reconciler.apply(request.desired);
    case "repair":
      return reconciler.repair(request.desired);
    case "teardown":
      return reconciler.teardown();
  }
};

parentPort!.on("message", (request: WorkerRequest) => parentPort!.postMessage(answer(request)));
flushCompileCache();
