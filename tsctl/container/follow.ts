// A container of its own from here: its output until it has ended, and its exit code.
import { TswarmError } from "#base/errors.ts";
import type { LogLine } from "#proto/gen/control.ts";
import { type Task, TaskState } from "#proto/gen/types.ts";
import type { Cli } from "#tsctl/cli.ts";
import { follow } from "#tsctl/connection/watch.ts";

/** Docker's, for what never ran. */
const NOT_STARTED = 125;

const stateOf = (task: Task | undefined): TaskState => task?.status?.state ?? TaskState.TASK_NEW;
export const hasEnded = (task: Task | undefined): boolean => stateOf(task) >= TaskState.TASK_COMPLETE;

/** The task as it changes, until `until` says so or it is removed; what it was last. Undefined: it was not there. */
export const watchTask = async (
  cli: Cli,
  id: string,
  until: (task: Task) => boolean,
  signal: AbortSignal,
): Promise<Task | undefined> => {
  let last: Task | undefined;
  let gone = false;
  await follow(
    cli,
    [{ table: "task", id, serviceId: "", nodeId: "" }],
    {
      load: async () => {
        try {
          last = (await (await cli.control()).getTask({ ref: id })).task;
        } catch (error) {
          if (!(error instanceof TswarmError) || error.code !== "not_found") throw error;
          gone = true;
        }
      },
      event: ({ action, object }) => {
        if (object?.object?.$case !== "task") return;
        last = object.object.value;
        gone = action === "remove";
      },
      settled: () => gone || (last !== undefined && until(last)),
    },
    signal,
  );
  return last;
};

/** @return 0 when it runs, has run, or waits for something that is then told; else Docker's code */
export const whenStarted = async (cli: Cli, started: Task): Promise<number> => {
  const last = await watchTask(
    cli,
    started.id,
    (task) => stateOf(task) >= TaskState.TASK_RUNNING || waitsFor(task) !== "",
    cli.interrupt(),
  );
  const why = last === undefined ? "" : waitsFor(last);
  if (why !== "") cli.err.write(`waiting: ${why}\n`);
  const failed = stateOf(last) > TaskState.TASK_SHUTDOWN && last?.status?.exitCode === 0;
  return failed ? exitCode(cli, last ?? started) : 0;
};

/** Why it has no node yet; empty: it has one, or it gets one now. */
const waitsFor = (task: Task): string => (stateOf(task) < TaskState.TASK_ASSIGNED ? (task.status?.error ?? "") : "");

/** Each line once, although the log is read again from where it broke off. */
const createPrinter = (cli: Cli) => {
  let lastUs = 0;
  /** Lines that were written in that very microsecond. */
  let count = 0;
  return {
    sinceMs: () => Math.floor(lastUs / 1_000),
    /** Lines of one reading, in order. */
    reading: () => {
      const [fromUs, known] = [lastUs, count];
      let same = 0;
      return (lines: readonly LogLine[]): void => {
        for (const { atUs, stderr, data } of lines) {
          if (atUs < fromUs || (atUs === fromUs && ++same <= known)) continue;
          count = atUs === lastUs ? count + 1 : 1;
          lastUs = atUs;
          (stderr ? cli.err : cli.out).write(`${Buffer.from(data).toString("utf8")}\n`);
        }
      };
    },
  };
};

/** @return the container's exit code. Ctrl-C stops it, and its end is waited for. */
export const followContainer = async (cli: Cli, started: Task): Promise<number> => {
  const { id } = started;
  const printer = createPrinter(cli);
  const reading = new AbortController();
  let output: Promise<void> | undefined;
  let said = "";

  const read = async (more: boolean, signal: AbortSignal): Promise<void> => {
    const print = printer.reading();
    const control = await cli.control();
    const request = { ref: id, follow: more, tail: -1, since: printer.sinceMs(), stdout: true, stderr: true };
    for await (const { lines } of control.logs(request, { signal })) {
      print(lines);
      await Promise.all([cli.out.drained(), cli.err.drained()]);
    }
  };

  const stop = async (): Promise<void> => {
    const control = await cli.control();
    try {
      await control.stopContainer({ ref: id });
    } catch {
      // It was never given to a node: nothing of it runs.
      await control.removeContainer({ ref: id, force: true });
    }
  };
  const interrupt = cli.interrupt();
  const onInterrupt = (): void => void stop().catch((error) => cli.err.write(`tsctl: ${error.message}\n`));
  interrupt.addEventListener("abort", onInterrupt, { once: true });

  const last = await watchTask(
    cli,
    id,
    (task) => {
      const waiting = waitsFor(task);
      if (waiting !== "" && waiting !== said) cli.err.write(`waiting: ${waiting}\n`);
      said = waiting;
      if (stateOf(task) >= TaskState.TASK_RUNNING && output === undefined)
        // A stream that breaks is made up for by the reading at the end.
        output = read(true, reading.signal).catch(() => {});
      return hasEnded(task);
    },
    new AbortController().signal,
  );
  reading.abort();
  await output;
  await read(false, new AbortController().signal).catch((error) => cli.err.write(`warning: ${error.message}\n`));
  interrupt.removeEventListener("abort", onInterrupt);
  return exitCode(cli, last ?? started);
};

const exitCode = (cli: Cli, { name, status }: Task): number => {
  const code = status?.exitCode ?? 0;
  const state = status?.state ?? TaskState.TASK_NEW;
  if (code !== 0 || state === TaskState.TASK_COMPLETE) return code;
  if (state === TaskState.TASK_SHUTDOWN) return 0;
  cli.err.write(`tsctl: ${name} did not run: ${status?.error || status?.message || "it was removed"}\n`);
  return NOT_STARTED;
};
