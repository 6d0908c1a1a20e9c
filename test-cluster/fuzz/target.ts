// What is fuzzed: a decoder with valid inputs.
import { TswarmError } from "#base/errors.ts";

export type Target = {
  readonly name: string;
  /** Of its share of the whole time; the usual is 1. */
  readonly weight?: number;
  /** false: its samples may be refused, they only lead somewhere. */
  readonly strict?: false;
  /** Pieces that its inputs contain, for texts. */
  readonly words?: readonly string[];
  readonly open: () => Promise<OpenTarget>;
};
export type OpenTarget = {
  readonly samples: readonly Uint8Array[];
  /** Decodes. Throws as the decoder does; what `isClear` does not accept is a finding. */
  readonly run: (input: Buffer) => unknown;
  readonly close?: () => void;
};

/** An error that was meant, whoever threw it: it has a code, and says more than what went wrong in the code. */
export const isClear = (error: unknown): boolean =>
  error instanceof TswarmError && !(error.cause instanceof Error && error.message === error.cause.message);
