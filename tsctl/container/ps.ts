// The containers of the whole cluster, those of services among them, as `docker ps` shows those of one host.
import type { NodeView } from "#proto/gen/control.ts";
import { type Task, TaskState } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { nodeName } from "#tsctl/node/ls.ts";
import { ago, capitalize, humanDuration } from "#tsctl/output/human.ts";
import { type ListOptions, listOptions, printList, type Row, shortId, toFilters } from "#tsctl/output/list.ts";
import { naturalOrder } from "#tsctl/output/natural-order.ts";
import { enumName } from "#tsctl/output/plain.ts";
import { taskPorts } from "#tsctl/service/ports.ts";

const LAYOUT = {
  headers: {
    ID: "CONTAINER ID",
    Image: "IMAGE",
    Command: "COMMAND",
    CreatedAt: "CREATED",
    Status: "STATUS",
    Node: "NODE",
    Ports: "PORTS",
    Names: "NAMES",
    Service: "SERVICE",
    Networks: "NETWORKS",
    Labels: "LABELS",
    State: "STATE",
  },
  columns: ["ID", "Image", "Command", "CreatedAt", "Status", "Node", "Ports", "Names"],
  key: "ID",
};

const MAX_COMMAND = 20;

const { TASK_COMPLETE, TASK_RUNNING } = TaskState;

/** "Up 5 minutes", "Exited (1) 3 minutes ago", "Preparing", "Pending: no suitable node (…)". */
const statusText = ({ status }: Task, now: number): string => {
  const state = status?.state ?? TaskState.TASK_NEW;
  const at = status?.at ?? now;
  if (state === TASK_RUNNING) return `Up ${humanDuration(Math.max(0, now - at)).toLowerCase()}`;
  const name = capitalize(enumName(TaskState, state));
  const error = status?.error ? `: ${status.error}` : "";
  if (state < TASK_COMPLETE) return `${name}${error}`;
  const ran = state <= TaskState.TASK_FAILED;
  return ran ? `Exited (${status?.exitCode ?? 0}) ${ago(at, now)}` : `${name} ${ago(at, now)}${error}`;
};

const commandText = (task: Task, { trunc }: { trunc: boolean }): string => {
  const { command = [], args = [] } = task.spec?.container ?? {};
  const text = [...command, ...args].join(" ");
  return text === "" ? "" : `"${trunc && text.length > MAX_COMMAND ? `${text.slice(0, MAX_COMMAND - 1)}…` : text}"`;
};

export const containerRows = (
  tasks: readonly Task[],
  nodes: readonly NodeView[],
  networks: ReadonlyMap<string, string>,
  now: number,
  options: { trunc: boolean },
): Row[] => {
  const names = new Map(nodes.map((view) => [view.node?.id ?? "", nodeName(view)]));
  const created = (task: Task): number => task.meta?.createdAt ?? 0;
  return [...tasks]
    .sort((a, b) => created(b) - created(a) || naturalOrder(a.name, b.name) || naturalOrder(a.id, b.id))
    .map((task) => ({
      ID: shortId(task.id, options),
      Image: task.spec?.container?.image ?? "",
      Command: commandText(task, options),
      CreatedAt: ago(created(task) || now, now),
      Status: statusText(task, now),
      State: enumName(TaskState, task.status?.state ?? 0),
      Node: names.get(task.nodeId) ?? task.nodeId,
      Ports: taskPorts(task.ports),
      Names: task.name,
      Service: task.serviceName,
      Networks: task.attachments.map((a) => networks.get(a.networkId) ?? a.networkId).join(","),
      Labels: Object.entries(task.spec?.container?.labels ?? {})
        .map(([key, value]) => `${key}=${value}`)
        .join(","),
    }));
};

export const containerPs: Verb = (program, cli) =>
  listOptions(
    program.command("ps").description("List the containers of all nodes, those of services too"),
    "id, name, node, service, network, label, status (created, running, exited), is-task",
  )
    .option("-a, --all", "also those that have ended")
    .action(async (options: ListOptions & { all?: true }) => {
      const given = toFilters(options.filter);
      const unended = { key: "status", values: ["created", "running"] };
      const filters = options.all || given.some(({ key }) => key === "status") ? given : [...given, unended];
      const control = await cli.control();
      const [{ tasks }, { nodes }, { networks }] = await Promise.all([
        control.listTasks({ filters }),
        control.listNodes({ filters: [] }),
        control.listNetworks({ filters: [] }),
      ]);
      const names = new Map(networks.map((network) => [network.id, network.spec?.annotations?.name ?? ""]));
      printList(cli, LAYOUT, containerRows(tasks, nodes, names, cli.now(), options), options);
    });
