// Elements of nftables sets and maps by raw nfnetlink: 35 µs whatever the size of the ruleset, where libnftables reads the
// whole ruleset first.
// Exports: NftElements.open(netnsPath | null): { apply(family, table, changes): void, close() }.
import { type ElementChange, encodeElementChanges, type NftFamily } from "#net/codec/nft-elements.ts";
import { type Acknowledgement, messagesOf, NLMSG, parseAcknowledgement, setSequence } from "#net/codec/nlmsg.ts";
import { systemError } from "./errno.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "./netlink-socket.ts";

export class NftElements {
  readonly #socket: NetlinkSocket;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  static open(netnsPath: string | null): NftElements {
    return new NftElements(NetlinkSocket.open(netnsPath, NETLINK_NETFILTER));
  }

  /**
   * One transaction. Adding an element that is there with the same value changes nothing; with another value it fails
   * (`conflict`), as deleting an absent one does (`not_found`).
   */
  apply(family: NftFamily, table: string, changes: readonly ElementChange[]): void {
    if (changes.every((c) => c.elements.length === 0)) return;
    const what = `nft elements of ${family} ${table} ${[...new Set(changes.map((c) => c.set))].join(", ")}`;
    const messages = encodeElementChanges(family, table, changes);
    for (const m of messages) setSequence(m, this.#socket.nextSequence());
    let failure: Acknowledgement | undefined;
    this.#socket.exchangeRaw(Buffer.concat(messages), what, (datagram) => {
      for (const m of messagesOf(datagram)) {
        const ack = m.type === NLMSG.ERROR ? parseAcknowledgement(m) : undefined;
        if (ack !== undefined && ack.errno !== 0) failure ??= ack;
      }
    });
    if (failure !== undefined) throw systemError(failure.errno, what, failure.text);
  }

  close(): void {
    this.#socket.close();
  }
}
