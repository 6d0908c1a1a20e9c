import type { Command } from "commander";
import type { Cli } from "#tsctl/cli.ts";
import { parseTemplate, renderTemplate } from "#tsctl/output/template.ts";

export type InspectOptions = { format?: string };

export const inspectOptions = (command: Command): Command =>
  command.option("--format <format>", 'json (one line each) or a template such as "{{.Spec.Replicas}}"');

/** One JSON array, or each object by the template. */
export const printInspect = (cli: Cli, objects: readonly unknown[], options: InspectOptions): void => {
  if (options.format === undefined) cli.out.write(`${JSON.stringify(objects, null, 2)}\n`);
  else if (options.format === "json") for (const object of objects) cli.out.write(`${JSON.stringify(object)}\n`);
  else {
    const template = parseTemplate(options.format);
    for (const object of objects) cli.out.write(`${renderTemplate(template, object)}\n`);
  }
};
