import { type Issue, refuseAll } from "#base/errors.ts";
import { splitPair } from "#control-plane/stack/quantities.ts";

/** Values of a repeatable `--flag key=value`; a key alone has the empty value. */
export const readPairs = (flag: string, written: readonly string[], issues: Issue[]): Record<string, string> => {
  const out: Record<string, string> = {};
  for (const item of written) {
    const [key, value] = splitPair(item);
    if (key === "") issues.push({ field: flag, reason: `"${item}" has no key`, remedy: "Write it like key=value" });
    else out[key] = value;
  }
  return out;
};

/** The same where nothing else of the command can be wrong. */
export const labelPairs = (flag: string, written: readonly string[]): Record<string, string> => {
  const issues: Issue[] = [];
  const out = readPairs(flag, written, issues);
  refuseAll("The command", issues);
  return out;
};
