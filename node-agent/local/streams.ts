// Streams that a manager asked for: logs of this node's tasks, exec in them, and what its networking lacks. The agent opens the stream.
import type { Client } from "@grpc/grpc-js";
import { refuse, TswarmError } from "#base/errors.ts";
import { createLatch } from "#base/latch.ts";
import { createQueue, type Queue } from "#base/queue.ts";
import { readLogs } from "#node-agent/logs/read-logs.ts";
import type { TaskRunner } from "#node-agent/reconcile/task-runner.ts";
import type { Runtime } from "#node-agent/runtime/runtime.ts";
import type { Doctor } from "#node-agent/wiring/doctor.ts";
import { type DoctorRequest, DoctorResponse, type LogLine } from "#proto/gen/control.ts";
import {
  type AgentExecRequest,
  type AgentFrame,
  type AgentLogsRequest,
  type ClientFrame,
  DispatcherDefinition,
  type StreamRequest,
} from "#proto/gen/dispatcher.ts";
import { createClient } from "#proto/rpc/client.ts";
import { toErrorDetail } from "#proto/rpc/status.ts";

const LINES_PER_MESSAGE = 256;
/**
 * Messages that wait for the network: then the log is not read, and the program's output is left in its pipe. Messages that
 * wait for the program: then the network is not read, and its input waits with its sender.
 */
const MOST_WAITING = 16;

export type StreamContext = {
  readonly nodeId: string;
  readonly tasks: TaskRunner;
  readonly runtime: Runtime;
  readonly doctor: Pick<Doctor, "examine" | "follow">;
};

/** Lines that are there together travel together. */
const logsOf = async (
  request: AgentLogsRequest,
  context: StreamContext,
  out: Queue<AgentFrame>,
  signal: AbortSignal,
): Promise<void> => {
  let lines: LogLine[] = [];
  const flush = () => {
    if (lines.length > 0) out.push({ frame: { $case: "logs", value: { lines, warnings: [] } } });
    lines = [];
  };
  const { follow, tail, since, stdout, stderr } = request;
  await Promise.all(
    request.taskIds.map(async (taskId) => {
      const found = context.tasks.get(taskId);
      if (!found) return;
      for await (const line of readLogs(found.logPath, { follow, tail, since, stdout, stderr, signal })) {
        if (
          lines.push({
            taskId,
            nodeId: context.nodeId,
            atUs: line.atUs,
            stderr: line.stderr,
            data: Buffer.from(line.data),
          }) === 1
        )
          setImmediate(flush);
        if (lines.length >= LINES_PER_MESSAGE) flush();
        await out.room(MOST_WAITING);
      }
    }),
  );
  flush();
};

const execIn = async (
  { taskId, start }: AgentExecRequest,
  { tasks, runtime }: StreamContext,
  out: Queue<AgentFrame>,
  input: AsyncIterable<ClientFrame>,
  signal: AbortSignal,
): Promise<void> => {
  const found = tasks.get(taskId);
  if (!found || !start)
    throw refuse("not_found", "task", `${taskId} is not on this node any more`, "See `tsctl service ps`");
  const container = found.task.spec!.container!;
  const handle = await runtime.exec(taskId, {
    args: start.command,
    env: Object.entries(start.env).map(([k, v]) => `${k}=${v}`),
    ...(start.dir !== "" ? { cwd: start.dir } : container.dir !== "" ? { cwd: container.dir } : {}),
    ...(start.user !== "" ? { user: start.user } : {}),
    tty: start.tty,
    ...(start.size ? { size: start.size } : {}),
  });
  out.push({ frame: { $case: "exec", value: { output: { $case: "started", value: true } } } });
  const forward = async (stream: NodeJS.ReadableStream, $case: "stdout" | "stderr") => {
    for await (const data of stream) {
      out.push({ frame: { $case: "exec", value: { output: { $case, value: Buffer.from(data as Buffer) } } } });
      await out.room(MOST_WAITING);
    }
  };
  const over = createLatch();
  // The client has gone: nobody would ever end what it started. Not after its end: the number may be another's by then.
  const kill = () => {
    if (!over.isOpen()) handle.kill();
  };
  signal.addEventListener("abort", kill, { once: true });
  if (signal.aborted) kill();
  const outputs = Promise.all([forward(handle.stdout, "stdout"), forward(handle.stderr, "stderr")]);
  // Seen below; until then nobody waits for it.
  outputs.catch(() => {});
  void (async () => {
    for await (const { frame } of input) {
      if (frame?.$case !== "exec") continue;
      const message = frame.value.input;
      if (message?.$case === "stdin") {
        // What comes after the end of input has nowhere to go.
        if (handle.stdin.writable)
          await over.orOpen(new Promise((taken) => handle.stdin.write(message.value, () => taken(true))));
      } else if (message?.$case === "stdinClosed") handle.stdin.end();
      else if (message?.$case === "resize") handle.resize(message.value);
      else if (message?.$case === "signal") handle.kill(message.value);
    }
  })()
    .catch(() => {})
    .finally(kill);
  if (!start.stdin) handle.stdin.end();
  const code = await handle.exit.finally(over.open);
  await outputs;
  out.push({ frame: { $case: "exec", value: { output: { $case: "exitCode", value: code } } } });
};

/** The first answer is what there is; with `watch` each further one is what was repaired then. */
const examine = async (
  { repair, watch }: DoctorRequest,
  { nodeId, doctor }: StreamContext,
  out: Queue<AgentFrame>,
  signal: AbortSignal,
): Promise<void> => {
  const answer = (report: Partial<DoctorResponse>): void =>
    out.push({ frame: { $case: "doctor", value: DoctorResponse.fromPartial({ ...report, nodeId }) } });
  const stop = watch ? doctor.follow((findings) => answer({ findings: [...findings] })) : () => {};
  try {
    answer(await doctor.examine({ repair }));
    if (watch && !signal.aborted)
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  } finally {
    stop();
  }
};

export const serveStream = async (
  { streamId, request }: StreamRequest,
  channel: Client,
  context: StreamContext,
): Promise<void> => {
  const out = createQueue<AgentFrame>();
  const controller = new AbortController();
  out.push({ frame: { $case: "streamId", value: streamId } });
  const input = createQueue<ClientFrame>();
  const onOver = () => {
    input.end();
    controller.abort();
  };
  const frames = createClient(DispatcherDefinition, channel).serve(out, { onOver });
  const reading = (async () => {
    for await (const frame of frames) {
      input.push(frame);
      await input.room(MOST_WAITING);
    }
  })()
    .catch(() => {})
    .finally(onOver);
  try {
    if (request?.$case === "logs") await logsOf(request.value, context, out, controller.signal);
    else if (request?.$case === "exec") await execIn(request.value, context, out, input, controller.signal);
    else if (request?.$case === "doctor") await examine(request.value, context, out, controller.signal);
    else
      throw new TswarmError(
        "unsupported",
        "this node's version does not know the kind of stream that was asked for: update it",
      );
  } catch (error) {
    out.push({ frame: { $case: "error", value: toErrorDetail(error) } });
  }
  out.end();
  // What comes now is read, so that the end is seen, and dropped.
  input.end();
  await reading;
};
