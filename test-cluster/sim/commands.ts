// The commands of the simulated state: registers, lists, and filler that only makes the log longer.
//   u32 operation (unique in a run), u8 kind, u8 key, u32 a, u32 b, then filler
// Values are operation numbers; 0 is the register's first value.

export type Command =
  | { readonly kind: "filler" }
  | { readonly kind: "write"; readonly key: number; readonly value: number }
  | { readonly kind: "cas"; readonly key: number; readonly from: number; readonly to: number }
  | { readonly kind: "append"; readonly key: number; readonly value: number };

const HEAD = 14;
const KINDS = ["filler", "write", "cas", "append"] as const;

/** `size`: of the filler behind the command. */
export const encodeCommand = (operation: number, command: Command, size: number): Uint8Array => {
  const bytes = new Uint8Array(HEAD + size).fill(operation, HEAD);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, operation);
  bytes[4] = KINDS.indexOf(command.kind);
  if (command.kind === "filler") return bytes;
  bytes[5] = command.key;
  view.setUint32(6, command.kind === "cas" ? command.from : 0);
  view.setUint32(10, command.kind === "cas" ? command.to : command.value);
  return bytes;
};

const u32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

export const operationOf = (bytes: Uint8Array): number => u32(bytes, 0);

export const decodeCommand = (bytes: Uint8Array): Command => {
  const key = bytes[5]!;
  const kind = KINDS[bytes[4]!];
  if (kind === "write" || kind === "append") return { kind, key, value: u32(bytes, 10) };
  if (kind === "cas") return { kind, key, from: u32(bytes, 6), to: u32(bytes, 10) };
  return { kind: "filler" };
};
