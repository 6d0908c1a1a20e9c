// The one table between error codes and gRPC statuses, and the trailer that carries field, reason and remedy.
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { type ErrorCode, TswarmError } from "#base/errors.ts";
import { ErrorDetail } from "#proto/gen/control.ts";

const TRAILER = "tswarm-error-bin";

const STATUS: Readonly<Record<ErrorCode, status>> = {
  invalid: status.INVALID_ARGUMENT,
  not_found: status.NOT_FOUND,
  name_conflict: status.ALREADY_EXISTS,
  conflict: status.FAILED_PRECONDITION,
  stale_version: status.ABORTED,
  exhausted: status.RESOURCE_EXHAUSTED,
  unauthenticated: status.UNAUTHENTICATED,
  forbidden: status.PERMISSION_DENIED,
  not_leader: status.UNAVAILABLE,
  unavailable: status.UNAVAILABLE,
  unknown_outcome: status.UNKNOWN,
  unsupported: status.UNIMPLEMENTED,
  cancelled: status.CANCELLED,
  timeout: status.DEADLINE_EXCEEDED,
  internal: status.INTERNAL,
};

/** Codes for statuses that a peer sent without our trailer: transport errors above all. */
const CODE: Readonly<Partial<Record<status, ErrorCode>>> = {
  [status.CANCELLED]: "cancelled",
  [status.INVALID_ARGUMENT]: "invalid",
  [status.DEADLINE_EXCEEDED]: "timeout",
  [status.NOT_FOUND]: "not_found",
  [status.ALREADY_EXISTS]: "name_conflict",
  [status.PERMISSION_DENIED]: "forbidden",
  [status.UNAUTHENTICATED]: "unauthenticated",
  [status.RESOURCE_EXHAUSTED]: "exhausted",
  [status.FAILED_PRECONDITION]: "conflict",
  [status.ABORTED]: "stale_version",
  [status.UNIMPLEMENTED]: "unsupported",
  [status.UNAVAILABLE]: "unavailable",
};

/** A thrown value in wire form; also sent inside streams that end with an error of their own. */
export const toErrorDetail = (thrown: unknown): ErrorDetail => {
  const error = TswarmError.from(thrown);
  return {
    code: error.code,
    message: error.message,
    issues: [...error.issues],
    retryable: error.retryable,
    leaderAddr: error.leaderAddr ?? "",
  };
};

export const fromErrorDetail = (detail: ErrorDetail): TswarmError =>
  new TswarmError(detail.code in STATUS ? (detail.code as ErrorCode) : "internal", detail.message, {
    issues: detail.issues,
    retryable: detail.retryable,
    ...(detail.leaderAddr === "" ? {} : { leaderAddr: detail.leaderAddr }),
  });

/** For grpc-js's callbacks and stream errors. */
export const toServiceError = (thrown: unknown): { code: status; details: string; metadata: Metadata } => {
  const detail = toErrorDetail(thrown);
  const metadata = new Metadata();
  metadata.set(TRAILER, Buffer.from(ErrorDetail.encode(detail).finish()));
  // Statuses travel in a header: one line of printable text. The trailer has the whole message.
  return { code: STATUS[detail.code as ErrorCode], details: detail.message.split("\n", 1)[0] ?? "", metadata };
};

export const fromServiceError = (error: ServiceError): TswarmError => {
  const trailer = error.metadata?.get(TRAILER)[0];
  if (trailer instanceof Buffer) return fromErrorDetail(ErrorDetail.decode(trailer));
  return new TswarmError(CODE[error.code] ?? "internal", error.details || error.message, { cause: error });
};
