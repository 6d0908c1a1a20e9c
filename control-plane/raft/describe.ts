// Text for logs and goldens.
import { decodeConfChange } from "#control-plane/raft/conf-change.ts";
import type { ConfState, Entry, Message, Ready, Status } from "#control-plane/raft/types.ts";

const list = (ids: readonly number[]): string => `(${ids.join(" ")})`;

export const describeConf = (conf: ConfState): string =>
  `voters=${list(conf.voters)}${conf.learners.length > 0 ? ` learners=${list(conf.learners)}` : ""}${
    conf.removed.length > 0 ? ` removed=${list(conf.removed)}` : ""
  }`;

export const describeEntry = (e: Entry): string => {
  if (e.type === "conf") {
    const change = decodeConfChange(e.data);
    return `${e.term}/${e.index} ${change.kind} ${change.id}`;
  }
  if (e.data.length === 0) return `${e.term}/${e.index} empty`;
  const text = new TextDecoder().decode(e.data);
  return `${e.term}/${e.index} ${e.data.length <= 32 && /^[\x20-\x7e]*$/.test(text) ? JSON.stringify(text) : `${e.data.length} bytes`}`;
};

export const describeEntries = (entries: readonly Entry[]): string => `[${entries.map(describeEntry).join(", ")}]`;

const describeBody = (m: Message): string => {
  switch (m.kind) {
    case "append":
      return `after ${m.prevTerm}/${m.prevIndex} commit ${m.commit} ${describeEntries(m.entries)}`;
    case "append-response":
      return m.reject ? `rejects ${m.index} hint ${m.hintTerm}/${m.hintIndex}` : `matches ${m.index}`;
    case "heartbeat":
      return `commit ${m.commit} round ${m.round}`;
    case "heartbeat-response":
      return `round ${m.round}`;
    case "vote":
    case "pre-vote":
      return `last ${m.lastTerm}/${m.lastIndex}${m.transfer ? " transfer" : ""}`;
    case "vote-response":
    case "pre-vote-response":
      return m.reject ? "rejected" : "granted";
    case "snapshot":
      return `${m.snapshot.term}/${m.snapshot.index} ${describeConf(m.snapshot.conf)}`;
    case "timeout-now":
      return "";
    case "read-index":
      return `context ${m.context}`;
    case "read-index-response":
      return `context ${m.context} index ${m.index}`;
    case "transfer-leader":
      return `to ${m.target}`;
  }
};

export const describeMessage = (m: Message): string =>
  `${m.from}->${m.to} ${m.kind} term ${m.term} ${describeBody(m)}`.trimEnd();

export const describeReady = (r: Ready): string[] => {
  const lines: string[] = [];
  if (r.hardState !== null)
    lines.push(`hard state: term ${r.hardState.term} vote ${r.hardState.vote} commit ${r.hardState.commit}`);
  if (r.snapshot !== null)
    lines.push(`snapshot: ${r.snapshot.term}/${r.snapshot.index} ${describeConf(r.snapshot.conf)}`);
  if (r.entries.length > 0) lines.push(`entries: ${describeEntries(r.entries)}`);
  if (r.committed.length > 0) lines.push(`committed: ${describeEntries(r.committed)}`);
  for (const read of r.readStates) lines.push(`read: context ${read.context} index ${read.index}`);
  for (const m of r.messages) lines.push(`send: ${describeMessage(m)}`);
  for (const m of r.afterSync) lines.push(`after sync: ${describeMessage(m)}`);
  return lines;
};

export const describeStatus = (s: Status): string[] => [
  `${s.id} ${s.role} term ${s.term} vote ${s.vote} leader ${s.leader} commit ${s.commit} applied ${s.applied} log ${s.firstIndex}..${s.lastIndex} ${describeConf(s.conf)}`,
  ...s.progress.map(
    (p) =>
      `  ${p.id}${p.learner ? " learner" : ""} ${p.state} match ${p.match} next ${p.next}${p.recentActive ? "" : " inactive"}`,
  ),
];
