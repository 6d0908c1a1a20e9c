// Amounts as users write them, in stack files and in flags. `undefined` means that the text is not one.

const DURATION_UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/** "10s", "1m30s", "1.5h", "0" to whole milliseconds, rounded. Go's duration syntax without a sign. */
export const parseDuration = (text: string): number | undefined => {
  if (text === "0") return 0;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/gy)];
  if (parts.length === 0 || parts.map((p) => p[0]).join("") !== text) return undefined;
  return Math.round(parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * DURATION_UNITS_MS[unit!]!, 0));
};

const SIZE_UNITS: Readonly<Record<string, number>> = { "": 0, b: 0, k: 10, m: 20, g: 30, t: 40 };

/** "64m", "1.5GiB", "1024" to bytes. Units are powers of 1024, as in Docker. */
export const parseSize = (text: string): number | undefined => {
  const match = /^(\d+(?:\.\d+)?) ?([kmgt]?)(?:i?b)?$/i.exec(text) ?? /^(\d+)(b)$/i.exec(text);
  if (!match) return undefined;
  return Math.round(Number(match[1]) * 2 ** SIZE_UNITS[match[2]!.toLowerCase()]!);
};

/** "0.5" to 500 000 000 billionths of a CPU. */
export const parseCpus = (text: string): number | undefined => {
  if (!/^(\d+(\.\d{1,9})?|\.\d{1,9})$/.test(text)) return undefined;
  return Math.round(Number(text) * 1e9);
};

/** "k=v" to its halves; "k" alone has the empty value. */
export const splitPair = (text: string): [string, string] => {
  const at = text.indexOf("=");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
};

/** A command line as a shell splits it: blanks, single and double quotes, backslash. `undefined`: a quote is open. */
export const splitCommand = (text: string): string[] | undefined => {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (quote !== "") {
      if (c === quote) quote = "";
      else if (c === "\\" && quote === '"' && /["\\$`]/.test(text[i + 1] ?? "")) word += text[++i]!;
      else word += c;
    } else if (c === "'" || c === '"') {
      quote = c;
      word ??= "";
    } else if (c === "\\" && i + 1 < text.length) {
      word = (word ?? "") + text[++i]!;
    } else if (/\s/.test(c)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? "") + c;
  }
  if (quote !== "") return undefined;
  if (word !== undefined) words.push(word);
  return words;
};
