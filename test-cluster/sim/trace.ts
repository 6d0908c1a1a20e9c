// What happened, as lines: all of them go into a hash (two runs of a seed must agree), the last ones are kept for the reader.
import { createHash } from "node:crypto";

const KEPT = 120;
const BATCH = 1000;

export class Trace {
  #hash = createHash("sha256");
  #lines: string[] = [];
  count = 0;

  note(time: number, text: string): void {
    this.count++;
    this.#lines.push(`${time.toFixed(2)} ${text}`);
    if (this.#lines.length >= BATCH + KEPT) this.#hash.update(this.#lines.splice(0, BATCH).join("\n"));
  }

  last(count: number): string[] {
    return this.#lines.slice(-count);
  }

  /** Ends the trace. */
  digest(): string {
    return this.#hash.update(this.#lines.join("\n")).digest("hex").slice(0, 16);
  }
}
