/**
 * For commands that move much data. V8 can wait for ever at exit for a background compilation that waits for a
 * collection, so nothing is optimised from here on. Not as flags of the process: Node's own compiled sources are good only
 * for the flags they were made with. Not for every command: loading node:v8 costs 2 ms.
 */
export const withoutOptimisation = async (): Promise<void> => {
  const { setFlagsFromString } = await import("node:v8");
  setFlagsFromString("--no-opt");
  setFlagsFromString("--no-maglev");
};
