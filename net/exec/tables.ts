// Writes our tables: whole texts by libnftables, changes of backends as transactions of our own (those that are the same in
// many namespaces are encoded once).
//
// A table that we wrote or looked at is known, and need not be listed, as long as nobody touches the rulesets of its namespace:
// each transaction makes their generation one more.

import { statSync } from "node:fs";
import { encodeChanges, type NftChange } from "#net/codec/nft-transaction.ts";
import { slotData, slotKey, translation } from "#net/codec/nft-translation.ts";
import type { Kernel } from "#net/exec/kernel.ts";
import { errnoOf } from "#net/kernel/errno.ts";
import type { Slots } from "#net/model/host-state.ts";
import { type ChoiceChange, modulusOf } from "#net/plan/nat/choices.ts";
import { DELETE_TABLE } from "#net/plan/nat/ruleset.ts";
import type { NetOp } from "#net/plan/op.ts";

type Op<K extends NetOp["op"]> = Extract<NetOp, { op: K }>;

const TABLE = "tswarm";
const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;

const written = new WeakMap<readonly ChoiceChange[], Uint8Array>();

const encoded = (changes: readonly ChoiceChange[]): Uint8Array => {
  let bytes = written.get(changes);
  if (bytes === undefined) {
    bytes = encodeChanges(TABLE, changes.flatMap(nftChanges));
    written.set(changes, bytes);
  }
  return bytes;
};

export const namespaceInode = (path: string | null): number => statSync(path ?? "/proc/thread-self/ns/net").ino;

export const writeTable = ({ ns, digest, ruleset, backends, replaces }: Op<"nft-set">, kernel: Kernel): void => {
  const socket = kernel.nftSocket(ns);
  kernel.tables.delete(ns);
  const before = socket.generation();
  kernel.nft(ns).run(replaces ? DELETE_TABLE + ruleset : ruleset);
  const generation = socket.generation();
  // Else somebody came in between, before or after us.
  if (generation !== before + 1) return;
  const seen = { nftDigest: digest, nftChoices: backends, nftListing: "" };
  kernel.tables.set(ns, { inode: namespaceInode(kernel.path(ns)), generation, seen });
};

/**
 * A known table stays known: the kernel is told to take the change only if nobody has touched the rulesets since. When somebody
 * has (a firewall, on the host), the change itself is as good.
 */
export const choose = ({ ns, changes, after }: Op<"nft-choices">, kernel: Kernel): void => {
  const socket = kernel.nftSocket(ns);
  const bytes = encoded(changes);
  const what = `backends in ${ns === "" ? "the host" : ns}`;
  const known = kernel.tables.get(ns);
  kernel.tables.delete(ns);
  if (known !== undefined) {
    try {
      socket.run(bytes, what, known.generation);
      kernel.tables.set(ns, { ...known, generation: known.generation + 1, seen: { ...known.seen, nftChoices: after } });
      return;
    } catch (error) {
      if (errnoOf(error) !== "ERESTART") throw error;
    }
  }
  socket.run(bytes, what);
};

const nftChanges = ({ choice, from, to }: ChoiceChange): NftChange[] => {
  const changed = Array.from({ length: Math.max(from.length, to.length) }, (_, i) => i).filter(
    (i) => from[i] !== to[i],
  );
  const leaving = changed.filter((i) => i < from.length);
  const coming = changed.filter((i) => i < to.length);
  const changes: NftChange[] = [
    { op: "del-elements", map: choice.name, keys: leaving.map(slotKey) },
    {
      op: "add-elements",
      map: choice.name,
      elements: coming.map((i) => ({ key: slotKey(i), data: slotData(to[i]!) })),
    },
  ];
  if (modulusOf(from) !== modulusOf(to))
    changes.push({ op: "set-rule", chain: choice.name, rule: translationOf(choice, to) });
  return changes;
};

const translationOf = ({ name, family, port }: ChoiceChange["choice"], to: Slots) =>
  translation({
    family: family === 4 ? "inet" : "inet6",
    map: name,
    modulus: modulusOf(to),
    ...(port && { port: { protocol: PROTOCOLS[port.protocol], target: port.target } }),
  });
