// Operational errors: one closed catalogue of codes, one class. Programmer errors use `assert` and crash.
// A message says what happened and why; `issues` name fields of the user's input with reason and remedy.

export type ErrorCode =
  | "invalid" // the input is wrong whatever the state is
  | "not_found"
  | "name_conflict" // an object of that name exists
  | "conflict" // the state does not allow it (in use, overlap, stale version)
  | "stale_version"
  | "exhausted" // no address, port, VNI left
  | "unauthenticated" // wrong token or certificate
  | "forbidden" // right identity, wrong role
  | "not_leader" // details carry the leader's address when it is known
  | "unavailable" // no quorum, no manager, connection lost: try again
  | "unknown_outcome" // the proposal may or may not be committed
  | "unsupported" // this kernel, node or version can't; says what is missing
  | "cancelled"
  | "timeout"
  | "internal";

export type Issue = { readonly field: string; readonly reason: string; readonly remedy: string };

export type ErrorOptions = {
  readonly issues?: readonly Issue[];
  readonly retryable?: boolean;
  readonly cause?: unknown;
  readonly leaderAddr?: string;
};

export class TswarmError extends Error {
  readonly code: ErrorCode;
  readonly issues: readonly Issue[];
  readonly retryable: boolean;
  readonly leaderAddr: string | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "TswarmError";
    this.code = code;
    this.issues = options.issues ?? [];
    this.retryable = options.retryable ?? (code === "unavailable" || code === "not_leader");
    this.leaderAddr = options.leaderAddr;
  }

  /** Any thrown value as a TswarmError; unknown ones become `internal` with the original as cause. */
  static from(thrown: unknown): TswarmError {
    if (thrown instanceof TswarmError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new TswarmError("internal", message, { cause: thrown });
  }
}

/** One refused field: the usual way to refuse input. The message is the reason and the remedy in one sentence each. */
export const refuse = (code: ErrorCode, field: string, reason: string, remedy: string): TswarmError =>
  new TswarmError(code, `${field}: ${reason}. ${remedy}.`, { issues: [{ field, reason, remedy }] });

/** What `decode` returns. What it throws becomes an error with `code` that names `what` could not be read. */
export const reading = <T>(code: ErrorCode, what: string, decode: () => T): T => {
  try {
    return decode();
  } catch (cause) {
    if (cause instanceof TswarmError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TswarmError(code, `${what} can't be read: ${why}`, { cause });
  }
};

/** For what was written in a format from after this version's time, which knows those up to `known`. */
export const newerVersion = (what: string, found: number, known: number): TswarmError =>
  new TswarmError(
    "unsupported",
    `${what} has format ${found}, this version knows ${known}: it was written by a newer version; upgrade this manager`,
  );

/** All refused fields of one input together. Throws when there are any. */
export const refuseAll = (what: string, issues: readonly Issue[]): void => {
  if (issues.length === 0) return;
  const text = issues.map((i) => `${i.field}: ${i.reason}. ${i.remedy}.`).join("\n");
  throw new TswarmError("invalid", issues.length === 1 ? text : `${what} has ${issues.length} problems:\n${text}`, {
    issues,
  });
};
