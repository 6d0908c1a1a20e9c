// Reading of untyped YAML values: every function returns the value in its type, or notes an issue at its path and
// returns an empty one, so that one pass finds all problems of a file.
import type { Issue } from "#base/errors.ts";
import { parseCpus, parseDuration, parseSize, splitCommand, splitPair } from "#control-plane/stack/quantities.ts";

export type Value = { readonly path: string; readonly raw: unknown; readonly issues: Issue[] };

export const note = (v: Value, reason: string, remedy: string): void => {
  v.issues.push({ field: v.path, reason, remedy });
};

const kindOf = (raw: unknown): string =>
  raw === null ? "nothing" : Array.isArray(raw) ? "a list" : typeof raw === "object" ? "a mapping" : `"${String(raw)}"`;

const isMap = (raw: unknown): raw is Record<string, unknown> =>
  typeof raw === "object" && raw !== null && !Array.isArray(raw);

const isScalar = (raw: unknown): raw is string | number | boolean =>
  typeof raw === "string" || typeof raw === "number" || typeof raw === "boolean";

const child = (v: Value, key: string | number, raw: unknown): Value => ({
  path: v.path === "" ? String(key) : `${v.path}.${key}`,
  raw,
  issues: v.issues,
});

/** Entries of a mapping; a missing or empty one has none. `x-…` keys are the user's own and left out. */
export const entries = (v: Value): [string, Value][] => {
  if (v.raw === undefined || v.raw === null) return [];
  if (!isMap(v.raw)) {
    note(v, `is ${kindOf(v.raw)}, not a mapping`, "Write it as `key: value` lines");
    return [];
  }
  return Object.entries(v.raw)
    .filter(([key]) => !key.startsWith("x-"))
    .map(([key, raw]) => [key, child(v, key, raw)]);
};

/** The fields that the table knows are read by it; every other key is refused by its path. */
export const fields = <K extends string>(v: Value, known: readonly K[]): Partial<Record<K, Value>> => {
  const found: Partial<Record<K, Value>> = {};
  for (const [key, value] of entries(v)) {
    if ((known as readonly string[]).includes(key)) found[key as K] = value;
    else note(value, "is not supported by this version of tswarm", `Remove it; known here: ${known.join(", ")}`);
  }
  return found;
};

export const items = (v: Value | undefined): Value[] => {
  if (v === undefined || v.raw === null) return [];
  if (Array.isArray(v.raw)) return v.raw.map((raw, i) => child(v, i, raw));
  note(v, `is ${kindOf(v.raw)}, not a list`, "Write it as `- item` lines");
  return [];
};

export const text = (v: Value | undefined): string => {
  if (v === undefined || v.raw === null) return "";
  if (isScalar(v.raw)) return String(v.raw);
  note(v, `is ${kindOf(v.raw)}, not a text`, "Write one value");
  return "";
};

export const texts = (v: Value | undefined): string[] => items(v).map(text);

/** A single text or a list of texts. */
export const textOrTexts = (v: Value | undefined): string[] =>
  v !== undefined && isScalar(v.raw) ? [String(v.raw)] : texts(v);

export const flag = (v: Value | undefined): boolean => {
  if (v === undefined || v.raw === null) return false;
  if (v.raw === true || v.raw === "true") return true;
  if (v.raw === false || v.raw === "false") return false;
  note(v, `is ${kindOf(v.raw)}, not true or false`, "Write true or false");
  return false;
};

/** Whole and not negative unless `fraction` is set. */
export const count = (v: Value | undefined, fallback: number, fraction = false): number => {
  if (v === undefined || v.raw === null) return fallback;
  const n = typeof v.raw === "number" ? v.raw : typeof v.raw === "string" && v.raw.trim() !== "" ? Number(v.raw) : NaN;
  if (n >= 0 && (fraction || Number.isSafeInteger(n))) return n;
  note(v, `is ${kindOf(v.raw)}, not a ${fraction ? "" : "whole "}number of 0 or more`, "Write such a number");
  return fallback;
};

export const oneOf = <T>(v: Value | undefined, choices: Readonly<Record<string, T>>, fallback: T): T => {
  const key = text(v);
  if (v === undefined || key === "") return fallback;
  if (Object.hasOwn(choices, key)) return choices[key]!;
  note(v, `is "${key}"`, `Use one of: ${Object.keys(choices).join(", ")}`);
  return fallback;
};

const amount = (v: Value | undefined, parse: (text: string) => number | undefined, what: string, like: string) => {
  const written = text(v);
  if (v === undefined || written === "") return undefined;
  const n = parse(written);
  if (n === undefined) note(v, `"${written}" is not ${what}`, `Write it like ${like}`);
  return n;
};

export const durationMs = (v: Value | undefined) => amount(v, parseDuration, "a duration", '"10s" or "1m30s"');
export const sizeBytes = (v: Value | undefined) => amount(v, parseSize, "a size", '"64m" or "1g"');
export const nanoCpus = (v: Value | undefined) => amount(v, parseCpus, "a number of CPUs", '"0.5"');

/** A mapping, or a list of "key=value". A key without a value is empty, or what `inherit` says. */
export const pairs = (v: Value | undefined, inherit: (key: string) => string | undefined = () => "") => {
  const out: Record<string, string> = {};
  if (v === undefined) return out;
  const put = (key: string, value: string | undefined) => {
    if (value !== undefined) out[key] = value;
  };
  if (Array.isArray(v.raw)) {
    for (const item of items(v)) {
      const written = text(item);
      const [key, value] = splitPair(written);
      if (key === "") note(item, `"${written}" has no name`, 'Write it like "NAME=value"');
      else put(key, written.includes("=") ? value : inherit(key));
    }
  } else for (const [key, value] of entries(v)) put(key, value.raw === null ? inherit(key) : text(value));
  return out;
};

/** A list of words, or one text that is split as a shell would. */
export const commandLine = (v: Value | undefined): string[] => {
  if (v === undefined || typeof v.raw !== "string") return texts(v);
  const words = splitCommand(v.raw);
  if (words === undefined) note(v, "has a quote that is not closed", "Close it, or write the command as a list");
  return words ?? [];
};
