// Runs a command in a task's container, wherever it is, with the user's keyboard and terminal.
import { type Issue, refuseAll, TswarmError } from "#base/errors.ts";
import { splitPair } from "#control-plane/stack/quantities.ts";
import type { ExecInput } from "#proto/gen/control.ts";
import type { Cli, Verb } from "#tsctl/cli.ts";
import { collect } from "#tsctl/output/list.ts";
import { withoutOptimisation } from "#tsctl/steady.ts";

type Options = { interactive?: true; tty?: true; env: string[]; user?: string; workdir?: string };

/** What is to be sent, in order, for as long as it is open. */
const queue = <T>() => {
  const held: T[] = [];
  let wake: () => void = () => {};
  let open = true;
  return {
    push: (item: T) => {
      held.push(item);
      wake();
    },
    close: () => {
      open = false;
      wake();
    },
    items: async function* () {
      for (;;) {
        while (held.length > 0) yield held.shift()!;
        if (!open) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
};

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

const sendInput = async (cli: Cli, push: (input: ExecInput) => void) => {
  for await (const bytes of cli.in.bytes()) push({ input: { $case: "stdin", value: Buffer.from(bytes) } });
  push({ input: { $case: "stdinClosed", value: true } });
};

/** @return the command's exit code */
export const runExec = async (cli: Cli, ref: string, command: string[], options: Options): Promise<number> => {
  const tty = options.tty ?? false;
  const env = environment(options.env, cli);
  if (tty && options.interactive && !cli.in.isTTY)
    throw new TswarmError("invalid", "--tty: standard input is not a terminal. Leave out --tty to pipe something in.");
  await withoutOptimisation();
  const control = await cli.control();
  const inputs = queue<ExecInput>();
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
  const onInterrupt = () => inputs.push({ input: { $case: "signal", value: "SIGINT" } });
  const interrupt = cli.interrupt();
  interrupt.addEventListener("abort", onInterrupt, { once: true });
  if (options.interactive) void sendInput(cli, inputs.push).catch(() => inputs.close());
  let code: number | undefined;
  try {
    for await (const { output } of control.exec(inputs.items())) {
      if (output?.$case === "stdout") cli.out.write(output.value);
      else if (output?.$case === "stderr") cli.err.write(output.value);
      else if (output?.$case === "exitCode") code = output.value;
    }
  } finally {
    inputs.close();
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
