// The subset of Go templates that `--format` takes: text, {{.Field}}, {{.A.B}}, {{json .}}, {{json .Field}}, and the
// escapes \t and \n. Names match whatever their case, so that Docker's spelling finds our fields.
import { TswarmError } from "#base/errors.ts";

type Part = { readonly text: string } | { readonly path: readonly string[]; readonly json: boolean };
export type Template = readonly Part[];

const bad = (action: string): never => {
  throw new TswarmError(
    "invalid",
    `--format: {{${action}}} is not supported. Use {{.Field}}, {{.A.B}}, {{json .}} or {{json .Field}}.`,
  );
};

export const parseTemplate = (source: string): Template => {
  const parts: Part[] = [];
  const unescaped = source.replaceAll("\\t", "\t").replaceAll("\\n", "\n");
  for (const piece of unescaped.split(/(\{\{.*?\}\})/s)) {
    const action = /^\{\{(.*)\}\}$/s.exec(piece)?.[1]?.trim();
    if (action === undefined) {
      if (piece.includes("{{")) bad(piece.slice(piece.indexOf("{{") + 2));
      if (piece !== "") parts.push({ text: piece });
      continue;
    }
    const match = /^(json\s+)?\.((?:[\w-]+(?:\.[\w-]+)*)?)$/.exec(action);
    if (!match) bad(action);
    else parts.push({ json: match[1] !== undefined, path: match[2] === "" ? [] : match[2]!.split(".") });
  }
  return parts;
};

const lookup = (value: unknown, path: readonly string[]): unknown => {
  let at = value;
  for (const segment of path) {
    if (typeof at !== "object" || at === null) return missing(path, []);
    const record = at as Record<string, unknown>;
    const key = Object.keys(record).find((k) => k === segment || k.toLowerCase() === segment.toLowerCase());
    if (key === undefined) return missing(path, Object.keys(record));
    at = record[key];
  }
  return at;
};

const missing = (path: readonly string[], known: readonly string[]): never => {
  const hint = known.length > 0 ? ` Known: ${known.map((k) => `.${k}`).join(" ")}` : "";
  throw new TswarmError("invalid", `--format: there is no field .${path.join(".")}.${hint}`);
};

const show = (value: unknown): string => {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
};

export const renderTemplate = (template: Template, value: unknown): string =>
  template
    .map((part) => {
      if ("text" in part) return part.text;
      const found = lookup(value, part.path);
      return part.json ? JSON.stringify(found ?? null) : show(found);
    })
    .join("");

/** For `table` templates: what stands above each field. */
export const renderHeader = (template: Template, headers: Readonly<Record<string, string>>): string =>
  template
    .map((part) => {
      if ("text" in part) return part.text;
      const name = part.path.at(-1) ?? "";
      const known = Object.keys(headers).find((k) => k.toLowerCase() === name.toLowerCase());
      return known === undefined ? name.toUpperCase() : headers[known]!;
    })
    .join("");
