// Lists of tasks: the newest of each slot, with what ran there before nested below it.
import type { Command } from "commander";
import type { Filter, NodeView } from "#proto/gen/control.ts";
import { type Task, TaskState } from "#proto/gen/types.ts";
import type { Cli } from "#tsctl/cli.ts";
import { nodeName } from "#tsctl/node/ls.ts";
import { ago, capitalize } from "#tsctl/output/human.ts";
import { type ListOptions, listOptions, printList, type Row, shortId, toFilters } from "#tsctl/output/list.ts";
import { naturalOrder } from "#tsctl/output/natural-order.ts";
import { enumName } from "#tsctl/output/plain.ts";
import { taskPorts } from "#tsctl/service/ports.ts";

export type TaskListOptions = ListOptions & { resolve: boolean };

const LAYOUT = {
  headers: {
    ID: "ID",
    Name: "NAME",
    Image: "IMAGE",
    Node: "NODE",
    DesiredState: "DESIRED STATE",
    CurrentState: "CURRENT STATE",
    Error: "ERROR",
    Ports: "PORTS",
    Addresses: "ADDRESSES",
  },
  columns: ["ID", "Name", "Image", "Node", "DesiredState", "CurrentState", "Error", "Ports"],
  key: "ID",
};

export const taskListOptions = (command: Command): Command =>
  listOptions(command, "id, name, node, desired-state").option("--no-resolve", "ids instead of node names");

/** By service and slot; in a slot the newest first, of two at once the one that shall run. */
export const orderTasks = (tasks: readonly Task[]): Task[] =>
  [...tasks].sort(
    (a, b) =>
      naturalOrder(a.serviceName, b.serviceName) ||
      a.slot - b.slot ||
      Number(b.desiredState <= TaskState.TASK_RUNNING) - Number(a.desiredState <= TaskState.TASK_RUNNING) ||
      (b.meta?.createdAt ?? 0) - (a.meta?.createdAt ?? 0) ||
      naturalOrder(a.id, b.id),
  );

const MAX_ERROR = 30;

export const taskRows = (
  tasks: readonly Task[],
  nodes: readonly NodeView[],
  now: number,
  options: { trunc: boolean; resolve: boolean; nested: boolean },
): Row[] => {
  const names = new Map(nodes.map((view) => [view.node?.id ?? "", nodeName(view)]));
  let previous = "";
  return orderTasks(tasks).map((task) => {
    const history = options.nested && task.name === previous;
    previous = task.name;
    const error = task.status?.error ?? "";
    const shown = options.trunc && error.length > MAX_ERROR ? `${error.slice(0, MAX_ERROR - 1)}…` : error;
    return {
      ID: shortId(task.id, options),
      Name: history ? ` \\_ ${task.name}` : task.name,
      Image: task.spec?.container?.image ?? "",
      Node: options.resolve ? (names.get(task.nodeId) ?? task.nodeId) : task.nodeId,
      DesiredState: capitalize(enumName(TaskState, task.desiredState)),
      CurrentState: `${capitalize(enumName(TaskState, task.status?.state ?? 0))} ${ago(task.status?.at || (task.meta?.createdAt ?? now), now)}`,
      Error: shown === "" ? "" : `"${shown}"`,
      Ports: taskPorts(task.ports),
      Addresses: task.attachments.map((a) => [a.ipv4, a.ipv6].filter((x) => x !== "").join(",")).join(" "),
    };
  });
};

/** Lists the tasks that match `filters` and the user's own. */
export const printTasks = async (cli: Cli, filters: readonly Filter[], options: TaskListOptions): Promise<void> => {
  const all = [...filters, ...toFilters(options.filter)];
  const control = await cli.control();
  const [{ tasks }, { nodes }] = await Promise.all([
    control.listTasks({ filters: all }),
    options.resolve ? control.listNodes({ filters: [] }) : { nodes: [] },
  ]);
  const table = (options.format === undefined || options.format.startsWith("table")) && !options.quiet;
  printList(cli, LAYOUT, taskRows(tasks, nodes, cli.now(), { ...options, nested: table }), options);
};
