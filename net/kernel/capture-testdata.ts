// Rewrites net/codec/testdata/*.hex from this kernel: `node net/kernel/capture-testdata.ts`, as root. Each line is one
// datagram as recv(2) gave it. iproute2 and conntrack make the objects, so that the encoders have no part in what the
// decoders are tested with.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { release } from "node:os";
import { encodeAddrDump } from "#net/codec/address-message.ts";
import { encodeFlowCount, encodeFlowDump } from "#net/codec/conntrack.ts";
import { encodeLinkDel, encodeLinkDump } from "#net/codec/link.ts";
import { encodeFdbDump, encodeNeighDump } from "#net/codec/neigh.ts";
import { setSequence } from "#net/codec/nlmsg.ts";
import { encodeRouteDump, encodeRouteReplace } from "#net/codec/route.ts";
import { encodeRuleDump } from "#net/codec/rule.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "./netlink-socket.ts";
import { scratchNetns } from "./scratch-netns.ts";

const SETUP = `
link set lo up
link add br0 address 02:00:00:00:00:01 mtu 1450 type bridge mcast_snooping 0
link set br0 up alias tswarm:network
link add v0 address 02:00:00:00:00:02 group 77 mtu 1450 type veth peer name v1 address 02:00:00:00:00:03
link set v0 master br0 up
link set v1 up
link set dev v0 type bridge_slave isolated on learning off neigh_suppress on
link add vx4 address 02:00:00:00:00:04 type vxlan id 4097 local 10.9.0.1 dstport 4789 nolearning proxy ttl 64 udpcsum
link add vx6 address 02:00:00:00:00:05 type vxlan id 16777215 local fd09::1 dstport 4790 nolearning udp6zerocsumtx udp6zerocsumrx
link set vx4 master br0 up
link add mv link v1 address 02:00:00:00:00:06 type macvlan mode private
addr add 10.1.0.2/24 dev v1
addr add fd01::2/64 dev v1 nodad
addr add 192.0.2.1/32 dev br0 noprefixroute
route add default via 10.1.0.1 proto 117 metric 50
route add 10.7.0.0/16 via 10.1.0.1 table 1007 mtu 1400 proto 117
route add unreachable 10.8.0.0/16 proto 117
route add fd07::/48 via fd01::1 dev v1 proto 117
rule add pref 900 fwmark 0x100/0xff00 table 1007 protocol 117
rule add pref 901 from 10.1.0.0/24 iif v1 table 7
-6 rule add pref 902 to fd01::/64 table 1007
neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev vx4 nud permanent
neigh add fd01::9 lladdr 02:00:00:00:00:09 dev vx4 nud permanent
`;

const FLOWS = `
-p udp -s 10.1.0.2 -d 10.1.0.100 --sport 5000 --dport 53 --dst-nat 10.1.0.7 --timeout 600
-p udp -s fd01::2 -d fd01::100 --sport 5000 --dport 53 --dst-nat fd01::7 --timeout 600
-p tcp -s 10.1.0.2 -d 10.1.0.9 --sport 40000 --dport 80 --state ESTABLISHED --timeout 600
-p icmp -s 10.1.0.2 -d 10.1.0.9 --icmp-type 8 --icmp-code 0 --icmp-id 7 --timeout 600
`;

const ns = scratchNetns();
try {
  for (const line of SETUP.trim().split("\n")) execFileSync("ip", ["-n", ns.name, ...line.split(" ")]);
  ns.exec("bridge", "fdb", "add", "02:00:00:00:00:09", "dev", "vx4", "dst", "10.9.0.2", "self");
  ns.exec("bridge", "fdb", "add", "02:00:00:00:00:09", "dev", "vx4", "master", "static");
  const socket = NetlinkSocket.open(ns.path);
  const capture = (name: string, what: string, request: Uint8Array, from = socket) => {
    const lines: string[] = [];
    setSequence(request, 7);
    from.exchangeRaw(request, what, (datagram) => lines.push(Buffer.from(datagram).toString("hex")));
    const origin = `# ${what}; Linux ${release()}, by net/kernel/capture-testdata.ts; sequence number 7`;
    writeFileSync(new URL(`../codec/testdata/${name}.hex`, import.meta.url), `${origin}\n${lines.join("\n")}\n`);
  };
  capture("link-dump", "RTM_GETLINK dump", encodeLinkDump());
  capture("addr-dump", "RTM_GETADDR dump", encodeAddrDump());
  capture("route-dump-inet", "RTM_GETROUTE dump of IPv4", encodeRouteDump("inet"));
  capture("route-dump-inet6", "RTM_GETROUTE dump of IPv6", encodeRouteDump("inet6"));
  capture("rule-dump-inet", "RTM_GETRULE dump of IPv4", encodeRuleDump("inet"));
  capture("rule-dump-inet6", "RTM_GETRULE dump of IPv6", encodeRuleDump("inet6"));
  capture("neigh-dump-inet", "RTM_GETNEIGH dump of IPv4", encodeNeighDump("inet"));
  capture("fdb-dump", "RTM_GETNEIGH dump of family bridge", encodeFdbDump());
  const nowhere = encodeRouteReplace({ destination: "10.0.0.0/8", gateway: "198.51.100.1", protocol: 117 });
  capture("error-extended", "RTM_NEWROUTE refused with an extended ACK", nowhere);
  capture("error-plain", "RTM_DELLINK of an index that is not there", encodeLinkDel(9999));
  socket.close();
  for (const line of FLOWS.trim().split("\n")) ns.exec("conntrack", "-I", ...line.split(" "));
  const netfilter = NetlinkSocket.open(ns.path, NETLINK_NETFILTER);
  capture("flow-dump", "IPCTNL_MSG_CT_GET dump", encodeFlowDump(), netfilter);
  capture("flow-count", "IPCTNL_MSG_CT_GET_STATS", encodeFlowCount(), netfilter);
  netfilter.close();
} finally {
  ns.remove();
}
