// All lists of tsctl: a table, JSON lines or a template, ids only, filters.
import type { Command } from "commander";
import { refuse } from "#base/errors.ts";
import { splitPair } from "#control-plane/stack/quantities.ts";
import type { Filter } from "#proto/gen/control.ts";
import type { Cli } from "#tsctl/cli.ts";
import { layoutTable } from "#tsctl/output/table.ts";
import { parseTemplate, renderHeader, renderTemplate } from "#tsctl/output/template.ts";

export type ListOptions = { format?: string; quiet?: boolean; trunc: boolean; filter: string[] };

/** Field (as templates call it) to column header; `columns` are those of the plain table, in order. */
export type ListLayout = {
  readonly headers: Readonly<Record<string, string>>;
  readonly columns: readonly string[];
  /** The field that -q prints. */
  readonly key: string;
};

export type Row = Readonly<Record<string, string | number | boolean>>;

export const collect = (value: string, previous: string[]): string[] => [...previous, value];

/** Options of every list. `filters` names the keys for the help text; none: the list has no filters. */
export const listOptions = (command: Command, filters?: string): Command => {
  command
    .option("--format <format>", 'json, "table TEMPLATE" or a template such as "{{.ID}} {{.Name}}"')
    .option("-q, --quiet", "only the ids")
    .option("--no-trunc", "whole ids and texts");
  if (filters) command.option("-f, --filter <key=value>", `only what matches: ${filters}; repeatable`, collect, []);
  return command;
};

/** "k=v" filters for the server, values of one key together. */
export const toFilters = (written: readonly string[]): Filter[] => {
  const byKey = new Map<string, string[]>();
  for (const filter of written) {
    const [key, value] = splitPair(filter);
    if (key === "" || !filter.includes("="))
      throw refuse("invalid", "--filter", `"${filter}" is not a filter`, 'Write it like "name=web"');
    byKey.set(key, [...(byKey.get(key) ?? []), value]);
  }
  return [...byKey].map(([key, values]) => ({ key, values }));
};

export const shortId = (id: string, options: { trunc: boolean }): string => (options.trunc ? id.slice(0, 12) : id);

/** Objects as tables show them: one field after the other, separated by tabs, laid out in columns. */
export const printList = (cli: Cli, layout: ListLayout, rows: readonly Row[], options: ListOptions): void => {
  const { format } = options;
  if (options.quiet && format === undefined) {
    for (const row of rows) cli.out.write(`${row[layout.key]}\n`);
    return;
  }
  if (format === "json") {
    for (const row of rows) cli.out.write(`${JSON.stringify(row)}\n`);
    return;
  }
  if (format !== undefined && !/^table(\s|$)/.test(format)) {
    const template = parseTemplate(format);
    for (const row of rows) cli.out.write(`${renderTemplate(template, row)}\n`);
    return;
  }
  const written = format?.slice("table".length).trim();
  const source = written ? written : layout.columns.map((field) => `{{.${field}}}`).join("\t");
  const template = parseTemplate(source);
  const lines = [renderHeader(template, layout.headers), ...rows.map((row) => renderTemplate(template, row))];
  cli.out.write(layoutTable(lines.map((line) => line.split("\t"))));
};
