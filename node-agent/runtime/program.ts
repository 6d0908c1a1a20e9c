// Programs that end by themselves: their outcome, with what they wrote to stderr as the error.
import { Socket } from "node:net";
import { TswarmError } from "#base/errors.ts";
import { closeFd, pipe } from "./libc.ts";
import { PROGRAM_ENV, spawn } from "./spawn.ts";

/** Everything that comes out of a pipe until its last writer closes it, as text. Takes the file descriptor over. */
export const readPipe = async (fd: number): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of new Socket({ fd, readable: true, writable: false })) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
};

/** The first line that comes out of a pipe, without its end; empty when there is none. Takes the file descriptor over. */
export const readLine = async (fd: number): Promise<string> => {
  let text = "";
  // Leaving the loop closes the pipe.
  for await (const chunk of new Socket({ fd, readable: true, writable: false })) {
    text += chunk;
    if (text.includes("\n")) break;
  }
  return text.split("\n", 1)[0]!;
};

/** Runs to its end; rejects with stderr as the message when the exit code is not 0. */
export const runProgram = async (what: string, argv: readonly string[]): Promise<void> => {
  const [readEnd, writeEnd] = pipe();
  const text = readPipe(readEnd);
  let exit: Promise<number>;
  try {
    exit = spawn(argv, ["null", "null", writeEnd], PROGRAM_ENV).exit;
  } finally {
    closeFd(writeEnd);
  }
  const code = await exit;
  if (code !== 0) throw new TswarmError("internal", `${what}: ${cleanMessage(await text) || `exit code ${code}`}`);
};

/** The runtime's message without time stamps and log prefixes of crun and conmon. */
export const cleanMessage = (text: string): string =>
  text
    .split("\n")
    .map((line) => line.replace(/^\d{4}-\d\d-\d\dT\S+ /, "").replace(/^\[conmon:.\]: /, ""))
    .filter((line) => line !== "")
    .join("; ");
