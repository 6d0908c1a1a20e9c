// Flags that hold amounts and choices: a wrong one becomes an issue that names the flag, so that all are told at once.
import type { Issue } from "#base/errors.ts";
import { parseCpus, parseDuration, parseSize } from "#control-plane/stack/quantities.ts";

/** Reads flags and gathers what is wrong with them. Values that were not given are `undefined`. */
export type FlagReader = {
  readonly issues: Issue[];
  duration(flag: string, written: string | undefined): number | undefined;
  size(flag: string, written: string | undefined): number | undefined;
  cpus(flag: string, written: string | undefined): number | undefined;
  count(flag: string, written: string | undefined): number | undefined;
  ratio(flag: string, written: string | undefined): number | undefined;
  choice<T>(flag: string, written: string | undefined, choices: Readonly<Record<string, T>>): T | undefined;
};

export const flagReader = (): FlagReader => {
  const issues: Issue[] = [];
  const amount = (flag: string, written: string | undefined, value: number | undefined, what: string, like: string) => {
    if (written !== undefined && value === undefined)
      issues.push({ field: flag, reason: `"${written}" is not ${what}`, remedy: `Write it like ${like}` });
    return value;
  };
  const parsed = (parse: (text: string) => number | undefined, what: string, like: string) => {
    return (flag: string, written: string | undefined) =>
      amount(flag, written, written === undefined ? undefined : parse(written), what, like);
  };
  const whole = (text: string) => (/^\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined);
  const fraction = (text: string) => (/^(0?\.\d+|[01](\.0*)?)$/.test(text) ? Number(text) : undefined);
  return {
    issues,
    duration: parsed(parseDuration, "a duration", '"10s" or "1m30s"'),
    size: parsed(parseSize, "a size", '"64m" or "1g"'),
    cpus: parsed(parseCpus, "a number of CPUs", '"0.5" or "2"'),
    count: parsed(whole, "a whole number of 0 or more", '"3"'),
    ratio: parsed(fraction, "a ratio", 'one from "0" to "1"'),
    choice: (flag, written, choices) => {
      if (written === undefined) return undefined;
      if (Object.hasOwn(choices, written)) return choices[written];
      issues.push({
        field: flag,
        reason: `"${written}" is not one of its values`,
        remedy: `Use one of: ${Object.keys(choices).join(", ")}`,
      });
      return undefined;
    },
  };
};
