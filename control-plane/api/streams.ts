// Logs and exec: the manager asks the nodes that run the tasks for streams and passes them on to the client.
import { refuse, TswarmError } from "#base/errors.ts";
import { createQueue } from "#base/queue.ts";
import type { AgentStream, Broker } from "#control-plane/dispatcher/broker.ts";
import { resolveLogTasks, resolveTask } from "#control-plane/operations/references.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import type { ExecInput, ExecOutput, LogsRequest, LogsResponse } from "#proto/gen/control.ts";
import { type Task, TaskState } from "#proto/gen/types.ts";
import type { RpcContext } from "#proto/rpc/server.ts";

const byNode = (tasks: readonly Task[]): Map<string, string[]> => {
  const nodes = new Map<string, string[]>();
  for (const task of tasks) {
    if (task.nodeId === "") continue;
    const ids = nodes.get(task.nodeId);
    if (ids) ids.push(task.id);
    else nodes.set(task.nodeId, [task.id]);
  }
  return nodes;
};

/** Messages that wait for the client; more than that wait on their nodes. */
const MOST_WAITING = 64;

/** A node that can't be reached is a warning in the stream: the others' lines still come. */
export async function* streamLogs(
  state: ReadTx,
  broker: Broker,
  request: LogsRequest,
  { signal }: RpcContext,
): AsyncGenerator<LogsResponse> {
  const { follow, tail, since, stdout, stderr } = request;
  const tasks = resolveLogTasks(state, request.ref);
  const merged = createQueue<LogsResponse>();
  const open = new Set<AgentStream>();
  const nodes = byNode(tasks);
  let left = nodes.size;
  let over = false;
  if (left === 0 || signal.aborted) return;
  signal.addEventListener("abort", () => merged.end(), { once: true });
  for (const [nodeId, taskIds] of nodes) {
    void (async () => {
      const stream = await broker.open(nodeId, {
        $case: "logs",
        value: { taskIds, follow, tail, since, stdout, stderr },
      });
      open.add(stream);
      if (over) stream.close();
      for await (const { frame } of stream.frames) {
        if (frame?.$case === "logs") merged.push(frame.value);
        await merged.room(MOST_WAITING);
      }
    })()
      .catch((error) => merged.push({ lines: [], warnings: [`node ${nodeId}: ${TswarmError.from(error).message}`] }))
      .finally(() => {
        if (--left === 0) merged.end();
      });
  }
  try {
    yield* merged;
  } finally {
    over = true;
    for (const stream of open) stream.close();
  }
}

export async function* streamExec(
  state: ReadTx,
  broker: Broker,
  inputs: AsyncIterable<ExecInput>,
  { signal }: RpcContext,
): AsyncGenerator<ExecOutput> {
  const iterator = inputs[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done || first.value.input?.$case !== "start") throw new TswarmError("invalid", "exec begins with `start`");
  const start = first.value.input.value;
  if (start.command.length === 0)
    throw refuse("invalid", "command", "it is empty", "Name a program: tsctl exec TASK COMMAND");
  const task = resolveTask(state, start.ref);
  if (task.status?.state !== TaskState.TASK_RUNNING)
    throw refuse("conflict", "task", `${task.name} is not running`, "See `tsctl service ps` for a running task");
  const stream = await broker.open(task.nodeId, { $case: "exec", value: { taskId: task.id, start } });
  // Also while the program is silent: nothing of it is read then, and nothing would notice that the client has gone.
  if (signal.aborted) stream.close();
  signal.addEventListener("abort", () => stream.close(), { once: true });
  void (async () => {
    for (let m = await iterator.next(); !m.done; m = await iterator.next())
      await stream.send({ frame: { $case: "exec", value: m.value } });
  })().catch(() => stream.close());
  try {
    for await (const { frame } of stream.frames) if (frame?.$case === "exec") yield frame.value;
  } finally {
    stream.close();
  }
}
