// What a verb may touch. main.ts makes the real one, tests a fake one.
import type { Command } from "commander";
import type { Variables } from "#control-plane/stack/interpolate.ts";
import type { ControlDefinition } from "#proto/gen/control.ts";
import type { NodeLocalDefinition } from "#proto/gen/node.ts";
import type { QuorumDefinition } from "#proto/gen/quorum.ts";
import type { RpcClient } from "#proto/rpc/client.ts";
import type { ContextFiles } from "#tsctl/context.ts";

export type Control = RpcClient<ControlDefinition>;
export type NodeLocal = RpcClient<NodeLocalDefinition>;
/** Answered by the manager that is asked, whoever leads. */
export type Quorum = RpcClient<QuorumDefinition>;

export type Output = {
  write(text: string | Uint8Array): void;
  /** For verbs that write much: resolves when whoever reads has taken so much of it that there is room for more. */
  drained(): Promise<void>;
  readonly isTTY: boolean;
  /** Width of the terminal; without one, wide enough for anything. */
  readonly columns: number;
};

/** The user's keyboard or what is piped in. */
export type Input = {
  readonly isTTY: boolean;
  bytes(): AsyncIterable<Uint8Array>;
  /** Keys one by one, unprocessed; the returned function undoes it. */
  raw(): () => void;
};

export type Cli = {
  readonly out: Output;
  readonly err: Output;
  readonly in: Input;
  readonly env: Variables;
  /** ms since the epoch */
  now(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Dials the host of the context when first used. */
  control(): Promise<Control>;
  local(): Promise<NodeLocal>;
  quorum(): Promise<Quorum>;
  /** From the first call on, Ctrl-C aborts the signal instead of ending the process. */
  interrupt(): AbortSignal;
  /** Calls back with rows and columns when the terminal changes; the returned function stops that. */
  onResize(callback: (size: { rows: number; columns: number }) => void): () => void;
  terminalSize(): { rows: number; columns: number };
  /** A file's content; "-" is standard input. */
  read(path: string): Promise<Uint8Array>;
  /** A file in pieces; "-" is standard input. */
  pieces(path: string): AsyncIterable<Uint8Array>;
  /**
   * Writes a file that only the user can read. It gets its name, and replaces one that has it, when all of it is on the disk
   * and `check`, which gets what was written, did not throw.
   */
  save(
    path: string,
    pieces: AsyncIterable<Uint8Array>,
    check: (written: AsyncIterable<Uint8Array>) => Promise<void>,
  ): Promise<void>;
  readonly contexts: ContextFiles;
  /** Of this program. */
  version(): string;
  /** The process's exit code when the verb ends. */
  exit(code: number): void;
};

/** Adds one verb to its noun's command. */
export type Verb = (noun: Command, cli: Cli) => void;
