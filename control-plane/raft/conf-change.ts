// Members and their changes. One server at a time (§4.1), so each old and each new majority share a member; learners don't
// count. A change takes effect when it is APPLIED, as in etcd, not when it is appended. That is safe because
//   - a leader proposes a change only after it has applied an entry of its own term and all earlier changes,
//   - a member with committed but unapplied changes does not campaign.
import { assert } from "#base/assert.ts";
import { TswarmError } from "#base/errors.ts";
import type { ConfChange, ConfChangeKind, ConfState } from "#control-plane/raft/types.ts";

const KINDS: readonly ConfChangeKind[] = ["add-voter", "add-learner", "remove", "update"];

export const emptyConf: ConfState = { voters: [], learners: [], removed: [] };

/** One byte for the kind, the id as a big-endian double (exact to 2^53), then the context. */
export const encodeConfChange = (change: ConfChange): Uint8Array => {
  const bytes = new Uint8Array(9 + change.context.length);
  bytes[0] = KINDS.indexOf(change.kind);
  new DataView(bytes.buffer).setFloat64(1, change.id);
  bytes.set(change.context, 9);
  return bytes;
};

export const decodeConfChange = (bytes: Uint8Array): ConfChange => {
  const kind = KINDS[bytes[0] ?? 255];
  if (kind === undefined || bytes.length < 9) throw new TswarmError("internal", "not an encoded change of members");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const id = view.getFloat64(1);
  if (!Number.isSafeInteger(id) || id <= 0) throw new TswarmError("internal", "a change of members names no member");
  return { kind, id, context: bytes.subarray(9) };
};

/** The members after the change. A removed id stays removed. */
export const changedConf = (conf: ConfState, change: ConfChange): ConfState => {
  const { id, kind } = change;
  if (kind === "update" || conf.removed.includes(id)) return conf;
  assert(id > 0, "a member's id is positive");
  const without = (list: readonly number[]) => list.filter((m) => m !== id);
  const withId = (list: readonly number[]) => [...without(list), id].sort((a, b) => a - b);
  if (kind === "remove") {
    return { voters: without(conf.voters), learners: without(conf.learners), removed: withId(conf.removed) };
  }
  // A voter is never turned into a learner: removing it is the way.
  if (kind === "add-learner" && conf.voters.includes(id)) return conf;
  return kind === "add-voter"
    ? { ...conf, voters: withId(conf.voters), learners: without(conf.learners) }
    : { ...conf, learners: withId(conf.learners) };
};
