// The generation of a namespace's rulesets: it goes up with every transaction of anybody, so an unchanged one says that nothing
// has changed, for 30 µs instead of milliseconds of listing. Reference: linux/netfilter/nf_tables.h, NFT_MSG_GETGEN.
// Exports: nftGeneration(netnsPath | null): number.
import { message, NLM_F, parseAttributes, readU32 } from "#net/codec/nlmsg.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "./netlink-socket.ts";

const NFT_MSG_GETGEN = (10 << 8) | 16;
const NFTA_GEN_ID = 1;

export const nftGeneration = (netnsPath: string | null): number => {
  const socket = NetlinkSocket.open(netnsPath, NETLINK_NETFILTER);
  try {
    // struct nfgenmsg
    const request = message(NFT_MSG_GETGEN, NLM_F.REQUEST | NLM_F.ACK, (w) => w.u32(0));
    const [reply] = socket.request(request, "generation of the rulesets");
    // Big-endian, but only compared.
    return readU32(parseAttributes(reply!.payload.subarray(4)).get(NFTA_GEN_ID))!;
  } finally {
    socket.close();
  }
};
