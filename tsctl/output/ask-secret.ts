import { refuse } from "#base/errors.ts";
import type { Cli } from "#tsctl/cli.ts";

const CTRL_C = 0x03;
const CTRL_D = 0x04;
const BACKSPACES = [0x08, 0x7f];
const ENDS = [0x0a, 0x0d, CTRL_D];

/**
 * One line that is not for other eyes: from a terminal without showing what is typed, else from what is piped in.
 * undefined: Ctrl-C.
 */
export const askSecret = async (cli: Cli, prompt: string): Promise<string | undefined> => {
  const onTerminal = cli.in.isTTY;
  const undo = onTerminal ? cli.in.raw() : () => {};
  if (onTerminal) cli.err.write(prompt);
  const typed: number[] = [];
  try {
    for await (const bytes of cli.in.bytes())
      for (const byte of bytes) {
        if (ENDS.includes(byte)) return Buffer.from(typed).toString();
        if (onTerminal && byte === CTRL_C) return undefined;
        if (onTerminal && BACKSPACES.includes(byte)) typed.pop();
        else typed.push(byte);
      }
  } finally {
    undo();
    if (onTerminal) cli.err.write("\n");
  }
  if (typed.length === 0) throw refuse("invalid", "standard input", "it is empty", "Type the line, or pipe it in");
  return Buffer.from(typed).toString();
};
