// The line between the manager and the agent that has started it: lines of text on the manager's standard input, and on its
// descriptor 3. Keys go this way: neither arguments, environment nor logs show them.
//
//   agent to manager    {"unlockKey": "…"}     the first line, when the node's keys are locked
//                       {"kept": 1}            the identity's file is as request 1 wants it
//                       {"refused": 1}         it is not, since the node has another key by now
//   manager to agent    keep {"request": 1, "unlockKey": "…", "keyDigest": "…"}
//                       removed                the others say that this member of the quorum is none any more
//                       ready                  it serves; any other line says why it can't
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { TswarmError } from "#base/errors.ts";
import { digestOfKey } from "#base/node/identity-files.ts";

export type AgentPipe = {
  /** The key that the agent gives for files that are locked. Rejects when it gives none. */
  unlockKey(): Promise<string>;
  /**
   * Asks the agent to keep the node's identity sealed with `unlockKey` (empty: open) and without former keys. False: the
   * agent has another key than `keyPem` by now.
   */
  keep(unlockKey: string, keyPem: string): Promise<boolean>;
  say(line: string): void;
  /** The agent wants this process to end, or has ended itself. */
  onEnd(callback: () => void): void;
};

export const openAgentPipe = (input: Readable, say: (line: string) => void): AgentPipe => {
  const unlocked = Promise.withResolvers<string>();
  const ended = Promise.withResolvers<void>();
  unlocked.promise.catch(() => {});
  const asked = new Map<number, (kept: boolean) => void>();
  let requests = 0;
  const answer = (request: number, kept: boolean): void => {
    asked.get(request)?.(kept);
    asked.delete(request);
  };
  const lines = createInterface({ input });
  lines.on("line", (line) => {
    const said: { unlockKey?: string; kept?: number; refused?: number } = JSON.parse(line);
    if (said.unlockKey !== undefined) unlocked.resolve(said.unlockKey);
    if (said.kept !== undefined) answer(said.kept, true);
    if (said.refused !== undefined) answer(said.refused, false);
  });
  lines.once("close", () => {
    unlocked.reject(new TswarmError("unavailable", "the node is locked, and nobody gives the key"));
    ended.resolve();
  });
  return {
    say,
    unlockKey: () => unlocked.promise,
    onEnd: (callback) => void ended.promise.then(callback),
    keep: (unlockKey, keyPem) =>
      new Promise((resolve) => {
        const request = ++requests;
        asked.set(request, resolve);
        say(`keep ${JSON.stringify({ request, unlockKey, keyDigest: digestOfKey(keyPem) })}`);
      }),
  };
};
