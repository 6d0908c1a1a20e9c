// The process that rewrites the manager's log while the manager does not run.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type ErrorCode, type Issue, TswarmError } from "#base/errors.ts";

const ENTRY = fileURLToPath(import.meta.resolve("#control-plane/recovery/main.ts"));
/** The agent's standard error. */
const AGENT_LOG = 2;

type Answer<T> = {
  readonly done?: T;
  readonly failed?: { readonly code: ErrorCode; readonly message: string; readonly issues: readonly Issue[] };
};

/** @param request JSON data; goes over standard input, since it may hold keys */
export const runRecovery = async <T>(request: object): Promise<T> => {
  const child = spawn(process.execPath, [...process.execArgv, ENTRY], { stdio: ["pipe", "pipe", AGENT_LOG] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  let said = "";
  child.stdout!.on("data", (data: Buffer) => {
    said += data.toString();
  });
  child.stdin!.on("error", () => {}); // it has ended before it read: the exit code tells
  child.stdin!.end(JSON.stringify(request));
  const code = await ended;
  const answer: Answer<T> = said === "" ? {} : JSON.parse(said);
  if (answer.failed) throw new TswarmError(answer.failed.code, answer.failed.message, { issues: answer.failed.issues });
  if (answer.done === undefined)
    throw new TswarmError("internal", `the recovery ended with ${code}: see the agent's log`);
  return answer.done;
};
