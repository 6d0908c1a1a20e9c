import { expect } from "chai";
import { inboundConnections, listeningPorts, socketsInUse } from "#node-agent/task/connections.ts";

// Lines of a real kernel's /proc/<pid>/net/tcp and tcp6.
const HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const line = (local: string, remote: string, state: string): string =>
  `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0`;
const table = (...lines: string[]): string => [HEAD, ...lines, ""].join("\n");
const WEB = "0200410A:0050";
const CLIENT = "0300410A:D431";

describe("connections of a container", () => {
  it("counts those to listening ports that are not over", () => {
    const listening = line("00000000:0050", "00000000:0000", "0A");
    for (const [state, counts] of [
      ["01", 1],
      ["02", 0],
      ["03", 1],
      ["04", 1],
      ["05", 0],
      ["06", 0],
      ["08", 1],
      ["09", 1],
      ["0B", 1],
    ] as const)
      expect(inboundConnections([table(listening, line(WEB, CLIENT, state))]), state).to.equal(counts);
    expect(inboundConnections([table(listening)])).to.equal(0);
  });

  it("leaves out those that the container has opened, and those of its own processes", () => {
    const upstream = line("0200410A:B2C4", "0900410A:18EB", "01");
    const dns = line("0B00007F:0035", "00000000:0000", "0A");
    const fpm = line("0100007F:2328", "00000000:0000", "0A");
    const query = line("0B00007F:0035", "0100007F:B001", "01");
    const inner = line("0100007F:2328", "0100007F:B002", "01");
    expect(inboundConnections([table(dns, fpm, upstream, query, inner)])).to.equal(0);
    expect([...listeningPorts([table(dns, fpm)])]).to.deep.equal([]);
  });

  it("knows IPv6, and IPv4 on sockets of IPv6", () => {
    const any = line("00000000000000000000000000000000:0050", "00000000000000000000000000000000:0000", "0A");
    const v6 = line("000000FD000000000000000002000000:0050", "000000FD000000000000000003000000:D431", "01");
    const mapped = line("0000000000000000FFFF00000200410A:0050", "0000000000000000FFFF00000300410A:D431", "01");
    const own = line("00000000000000000000000001000000:0050", "00000000000000000000000001000000:D431", "01");
    const own4 = line("0000000000000000FFFF00000100007F:0050", "0000000000000000FFFF00000100007F:D431", "01");
    expect(inboundConnections(["", table(any, v6, mapped, own, own4)])).to.equal(2);
    expect([...listeningPorts([table(), table(any)])]).to.deep.equal([80]);
  });

  it("reads the short counts", () => {
    const sockstat = "sockets: used 7\nTCP: inuse 3 orphan 0 tw 2 alloc 5 mem 173\nUDP: inuse 9 mem 0\n";
    expect(socketsInUse([sockstat, "TCP6: inuse 2\nUDP6: inuse 1\n"])).to.equal(5);
    expect(socketsInUse(["", ""])).to.equal(0);
  });
});
