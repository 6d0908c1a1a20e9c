// Runs a command in a task's container, wherever it is, with the user's keyboard and terminal.
import { type Issue, refuseAll, TswarmError } from "#base/errors.ts";
import { createQueue, type Queue } from "#base/queue.ts";
import { splitPair } from "#control-plane/stack/quantities.ts";
import type { ExecInput } from "#proto/gen/control.ts";
import type { Cli, Verb } from "#tsctl/cli.ts";
import { collect } from "#tsctl/output/list.ts";
import { withoutOptimisation } from "#tsctl/steady.ts";

type Options = { interactive?: true; tty?: true; env: string[]; user?: string; workdir?: string };

/** Messages that wait for the connection; then standard input is not read. */
const MOST_WAITING = 16;

const environment = (written: readonly string[], cli: Cli): Record<string, string> => {
  const issues: Issue[] = [];
  const env: Record<string, string> = {};
  for (const item of written) {
    const [name, value] = splitPair(item);
    if (name === "")
      issues.push({ field: "--env", reason: `"${item}" has no name`, remedy: "Write it like NAME=value" });
    else env[name] = item.includes("=") ? value : (cli.env[name] ?? "");
  }
  refuseAll("The command", issues);
  return env;
};

const sendInput = async (cli: Cli, inputs: Queue<ExecInput>) => {
  for await (const bytes of cli.in.bytes()) {
    inputs.push({ input: { $case: "stdin", value: Buffer.from(bytes) } });
    await inputs.room(MOST_WAITING);
  }
  inputs.push({ input: { $case: "stdinClosed", value: true } });
};

/** Docker's, for what Ctrl-C ended. */
const INTERRUPTED = 130;

/** @return the command's exit code */
export const runExec = async (cli: Cli, ref: string, command: string[], options: Options): Promise<number> => {
  const tty = options.tty ?? false;
  const env = environment(options.env, cli);
  if (tty && options.interactive && !cli.in.isTTY)
    throw new TswarmError("invalid", "--tty: standard input is not a terminal. Leave out --tty to pipe something in.");
  await withoutOptimisation();
  const control = await cli.control();
  const inputs = createQueue<ExecInput>();
  const start = {
    ref,
    command,
    tty,
    stdin: options.interactive ?? false,
    env,
    user: options.user ?? "",
    dir: options.workdir ?? "",
    size: tty ? cli.terminalSize() : undefined,
  };
  inputs.push({ input: { $case: "start", value: start } });
  const undo = [
    tty ? cli.onResize((size) => inputs.push({ input: { $case: "resize", value: size } })) : () => {},
    tty && options.interactive ? cli.in.raw() : () => {},
  ];
  // In raw mode Ctrl-C is a key for the container; otherwise it interrupts the command there, not only us.
  const leave = new AbortController();
  const onInterrupt = () => {
    // Behind input that is not read it might never arrive. Its agent kills what a client has left.
    if (inputs.size > 0) leave.abort();
    else inputs.push({ input: { $case: "signal", value: "SIGINT" } });
  };
  const interrupt = cli.interrupt();
  interrupt.addEventListener("abort", onInterrupt, { once: true });
  if (options.interactive) void sendInput(cli, inputs).catch(inputs.end);
  let code: number | undefined;
  try {
    for await (const { output } of control.exec(inputs, { signal: leave.signal })) {
      if (output?.$case === "exitCode") code = output.value;
      if (output?.$case !== "stdout" && output?.$case !== "stderr") continue;
      const target = output.$case === "stdout" ? cli.out : cli.err;
      target.write(output.value);
      await target.drained();
    }
  } catch (error) {
    if (!leave.signal.aborted) throw error;
    code = INTERRUPTED;
  } finally {
    inputs.end();
    for (const back of undo) back();
    interrupt.removeEventListener("abort", onInterrupt);
  }
  if (code === undefined) throw new TswarmError("unavailable", "the connection ended before the command did");
  return code;
};

export const exec: Verb = (program, cli) =>
  program
    .command("exec")
    .description("Run a command in a running task, on whatever node it is")
    .argument("<task>", '"web.1", or the task\'s id or the unique beginning of it')
    .argument("<command...>")
    .option("-i, --interactive", "pass on standard input")
    .option("-t, --tty", "give the command a terminal")
    .option("-e, --env <name=value>", "environment variable; repeatable", collect, [])
    .option("-u, --user <user>", "name or uid[:group or gid]")
    .option("-w, --workdir <path>", "working directory")
    .passThroughOptions()
    .addHelpText("after", "\nExamples:\n  tsctl exec client.1 curl -s http://web/\n  tsctl exec -it client.1 sh")
    .action(async (ref: string, command: string[], options: Options) =>
      cli.exit(await runExec(cli, ref, command, options)),
    );
