// The thread that makes and removes layers: thousands of system calls, and a hash of all bytes, that must not stall the
// agent's loop. (Asynchronous removal is no way out: it begins with everything at once.) One request at a time.
import { createReadStream, rmSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import type { ErrorCode, Issue } from "#base/errors.ts";
import { archiveError } from "./archive-error.ts";
import { type UnpackedLayer, unpackLayer } from "./unpack-layer.ts";

export type LayerRequest =
  | { readonly kind: "unpack"; readonly archive: string; readonly dir: string }
  | { readonly kind: "remove"; readonly paths: readonly string[] };

/** Errors lose their class and fields between threads. */
export type LayerAnswer =
  | { readonly kind: "done"; readonly layer?: UnpackedLayer }
  | { readonly kind: "failed"; readonly code: ErrorCode; readonly message: string; readonly issues: readonly Issue[] };

const answer = async (request: LayerRequest): Promise<LayerAnswer> => {
  try {
    if (request.kind === "unpack") {
      const archive = createReadStream(request.archive, { highWaterMark: 1 << 18 });
      return { kind: "done", layer: await unpackLayer(archive, request.dir) };
    }
    for (const path of request.paths) rmSync(path, { recursive: true, force: true });
    return { kind: "done" };
  } catch (thrown) {
    const { code, message, issues } = archiveError(thrown);
    return { kind: "failed", code, message, issues };
  }
};

parentPort!.on("message", async (request: LayerRequest) => parentPort!.postMessage(await answer(request)));
