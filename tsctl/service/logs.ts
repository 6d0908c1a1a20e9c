import { refuse } from "#base/errors.ts";
import { parseDuration } from "#control-plane/stack/quantities.ts";
import type { LogLine } from "#proto/gen/control.ts";
import type { Task } from "#proto/gen/types.ts";
import type { Cli, Verb } from "#tsctl/cli.ts";
import { nodeName } from "#tsctl/node/ls.ts";
import { withoutOptimisation } from "#tsctl/steady.ts";

type Options = {
  follow?: true;
  tail: string;
  since?: string;
  timestamps?: true;
  raw?: true;
  taskIds: boolean;
  resolve: boolean;
  trunc: boolean;
};

/** "10m" ago, or a time: to ms since the epoch. */
export const parseSince = (written: string | undefined, now: number): number => {
  if (written === undefined) return 0;
  const duration = parseDuration(written);
  if (duration !== undefined) return now - duration;
  const at = /^\d+(\.\d+)?$/.test(written) ? Number(written) * 1_000 : Date.parse(written);
  if (Number.isNaN(at))
    throw refuse("invalid", "--since", `"${written}" is no time`, 'Write it like "10m" or "2026-01-02T15:04:05Z"');
  return Math.round(at);
};

export const parseTail = (written: string): number => {
  if (written === "all") return -1;
  if (/^\d+$/.test(written)) return Number(written);
  throw refuse("invalid", "--tail", `"${written}" is not a number of lines`, 'Write a number, or "all"');
};

/** RFC 3339 with the agent's microseconds. */
const stamp = (atUs: number): string => {
  const micros = String(atUs % 1_000).padStart(3, "0");
  return new Date(Math.floor(atUs / 1_000)).toISOString().replace("Z", `${micros}Z`);
};

type Names = { readonly tasks: ReadonlyMap<string, Task>; readonly nodes: ReadonlyMap<string, string> };

/** "web.1.k3j9x2m4p7q1@node-2 | ", as Docker's. */
const prefixOf = (line: LogLine, names: Names, options: Options): string => {
  const task = names.tasks.get(line.taskId)?.name ?? "?";
  const id = options.taskIds ? `.${options.trunc ? line.taskId.slice(0, 12) : line.taskId}` : "";
  return `${task}${id}@${names.nodes.get(line.nodeId) ?? line.nodeId}`;
};

const loadNames = async (cli: Cli, resolve: boolean): Promise<Names> => {
  const control = await cli.control();
  const [{ tasks }, { nodes }] = await Promise.all([
    control.listTasks({ filters: [] }),
    resolve ? control.listNodes({ filters: [] }) : { nodes: [] },
  ]);
  return {
    tasks: new Map(tasks.map((task) => [task.id, task])),
    nodes: new Map(nodes.map((view) => [view.node?.id ?? "", nodeName(view)])),
  };
};

export const serviceLogs: Verb = (noun, cli) =>
  noun
    .command("logs")
    .description("Show what tasks of a service, or one task, have written")
    .argument("<service|task>", 'service by name or id, task by id or as "web.1"')
    .option("-f, --follow", "go on with what comes")
    .option("-n, --tail <lines>", "only the last lines of each task", "all")
    .option("--since <time>", 'only what is newer: "10m" or a time')
    .option("-t, --timestamps", "with the time of each line")
    .option("--raw", "only what was written, without the task's name")
    .option("--no-task-ids", "no task ids")
    .option("--no-resolve", "node ids instead of names")
    .option("--no-trunc", "whole task ids")
    .action(async (ref: string, options: Options) => {
      const request = {
        ref,
        follow: options.follow ?? false,
        tail: parseTail(options.tail),
        since: parseSince(options.since, cli.now()),
        stdout: true,
        stderr: true,
      };
      await withoutOptimisation();
      const control = await cli.control();
      let names: Names = options.raw ? { tasks: new Map(), nodes: new Map() } : await loadNames(cli, options.resolve);
      let width = 0;
      for await (const { lines, warnings } of control.logs(request)) {
        for (const warning of warnings) cli.err.write(`warning: ${warning}\n`);
        if (!options.raw && lines.some((line) => !names.tasks.has(line.taskId)))
          names = await loadNames(cli, options.resolve);
        for (const line of lines) {
          const time = options.timestamps ? `${stamp(line.atUs)} ` : "";
          // A container of its own writes for itself alone, as in Docker.
          const raw = options.raw || names.tasks.get(line.taskId)?.serviceId === "";
          const prefix = raw ? "" : prefixOf(line, names, options);
          width = Math.max(width, prefix.length);
          const text = Buffer.from(line.data).toString("utf8");
          const target = line.stderr ? cli.err : cli.out;
          target.write(`${time}${raw ? "" : `${prefix.padEnd(width)} | `}${text}\n`);
        }
        await Promise.all([cli.out.drained(), cli.err.drained()]);
      }
    });
