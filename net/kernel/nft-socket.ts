// Transactions of nftables by raw nfnetlink: tens of microseconds whatever the size of the ruleset, where libnftables reads the
// whole ruleset first.
// Exports: NftSocket.open(netnsPath | null): { run(changes, what, generation?), generation(), close() }.
import { transaction } from "#net/codec/nft-transaction.ts";
import {
  type Acknowledgement,
  message,
  messagesOf,
  NLM_F,
  NLMSG,
  parseAcknowledgement,
  parseAttributes,
} from "#net/codec/nlmsg.ts";
import { systemError } from "./errno.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "./netlink-socket.ts";

// linux/netfilter/nf_tables.h
const NFT_MSG_GETGEN = (10 << 8) | 16;
const NFTA_GEN_ID = 1;

export class NftSocket {
  readonly #socket: NetlinkSocket;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** It keeps the namespace alive, and closing it waits until the kernel has freed what was deleted: close many together. */
  static open(netnsPath: string | null): NftSocket {
    return new NftSocket(NetlinkSocket.open(netnsPath, NETLINK_NETFILTER));
  }

  /**
   * One transaction with these changes, as `encodeChanges` wrote them (for many namespaces, maybe): all or nothing. Adding an
   * element that is there with another value fails (`conflict`), as deleting an absent one does (`not_found`). With
   * `generation`: fails with ERESTART when the namespace's rulesets have another one by now.
   */
  run(changes: Uint8Array, what: string, generation?: number): void {
    let failure: Acknowledgement | undefined;
    // What is not refused is not answered; the kernel has done it when `send` returns.
    this.#socket.exchangeRaw(transaction(changes, generation), what, (datagram) => {
      for (const m of messagesOf(datagram)) {
        const ack = m.type === NLMSG.ERROR ? parseAcknowledgement(m) : undefined;
        if (ack !== undefined && ack.errno !== 0) failure ??= ack;
      }
    });
    if (failure !== undefined) throw systemError(failure.errno, what, failure.text);
  }

  /**
   * The generation of the namespace's rulesets: every transaction of anybody makes it one more. So the same one says that
   * nothing has changed, for 20 µs instead of milliseconds of listing.
   */
  generation(): number {
    // struct nfgenmsg
    const request = message(NFT_MSG_GETGEN, NLM_F.REQUEST | NLM_F.ACK, (w) => w.u32(0));
    const [reply] = this.#socket.request(request, "generation of the rulesets");
    const id = parseAttributes(reply!.payload.subarray(4)).get(NFTA_GEN_ID)!;
    return new DataView(id.buffer, id.byteOffset).getUint32(0);
  }

  close(): void {
    this.#socket.close();
  }
}
