// The agent's side of the thread that makes and removes layers. It lives as long as one change of the images: they are
// rare, and a thread that waits for the next one would cost as much memory as a small container.
import { Worker } from "node:worker_threads";
import { TswarmError } from "#base/errors.ts";
import type { LayerAnswer, LayerRequest } from "./layer-worker.ts";
import type { UnpackedLayer } from "./unpack-layer.ts";

/** One call at a time. */
export type LayerThread = {
  /**
   * Unpacks the layer's archive (a path; plain, gzip or zstd) into the existing, empty folder `dir`.
   * @throws TswarmError `invalid` for a damaged or refused archive, `internal` for what the disk or the thread did.
   */
  unpack(archive: string, dir: string): Promise<UnpackedLayer>;
  /** Removes files, and folders with all that they hold; what is missing is fine. */
  remove(paths: readonly string[]): Promise<void>;
};

/** Starts the thread when `use` first asks for something, and ends it with `use`. */
export const withLayerThread = async <T>(use: (thread: LayerThread) => Promise<T>): Promise<T> => {
  let worker: Worker | undefined;
  let asked: PromiseWithResolvers<UnpackedLayer | undefined> | undefined;
  const start = (): Worker => {
    const started = new Worker(new URL(import.meta.resolve("#node-agent/images/layer-worker.ts")));
    const fail = (why: string, cause?: unknown) =>
      asked?.reject(new TswarmError("internal", `the thread that unpacks image layers has ended: ${why}`, { cause }));
    started.on("message", (answer: LayerAnswer) => {
      if (answer.kind === "done") asked!.resolve(answer.layer);
      else asked!.reject(new TswarmError(answer.code, answer.message, { issues: answer.issues }));
    });
    started.on("error", (error: Error) => fail(error.message, error));
    started.on("exit", (code) => {
      worker = undefined;
      fail(`exit code ${code}`);
    });
    return started;
  };
  const ask = (request: LayerRequest): Promise<UnpackedLayer | undefined> => {
    worker ??= start();
    asked = Promise.withResolvers();
    worker.postMessage(request);
    return asked.promise;
  };
  try {
    return await use({
      unpack: async (archive, dir) => (await ask({ kind: "unpack", archive, dir }))!,
      remove: async (paths) => void (await ask({ kind: "remove", paths })),
    });
  } finally {
    await worker?.terminate();
  }
};
