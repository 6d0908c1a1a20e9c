// For tests: the datagrams of a captured file. See net/kernel/capture-testdata.ts for their origin.
import { readFileSync } from "node:fs";

export const GOLDEN_SEQUENCE = 7;

export const goldenDatagrams = (name: string): Uint8Array[] =>
  readFileSync(new URL(`../testdata/${name}.hex`, import.meta.url), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => Buffer.from(line, "hex"));
