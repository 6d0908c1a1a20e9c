import { expect } from "chai";
import { decodeFlow, decodeFlowCount, encodeFlowDelete, hasPorts, parseFlowTable } from "./conntrack.ts";
import { ReplyReader } from "./nlmsg.ts";
import { GOLDEN_SEQUENCE, goldenDatagrams } from "./testing/golden.ts";

const payloads = (name: string): Uint8Array[] => {
  const reader = new ReplyReader(GOLDEN_SEQUENCE);
  for (const datagram of goldenDatagrams(name)) reader.push(datagram);
  expect(reader.acknowledgement).to.deep.equal({ errno: 0, text: "", offset: undefined });
  return reader.messages.map((m) => m.payload);
};

// What the kernel was told is in net/kernel/capture-testdata.ts.
describe("conntrack on a real kernel's dumps", () => {
  const tuple = (source: string, destination: string, protocol: number, sourcePort = 0, destinationPort = 0) => ({
    source,
    destination,
    protocol,
    sourcePort,
    destinationPort,
  });

  const FLOWS = [
    {
      original: tuple("10.1.0.2", "10.1.0.100", 17, 5000, 53),
      reply: tuple("10.1.0.7", "10.1.0.2", 17, 53, 5000),
    },
    {
      original: tuple("fd01::2", "fd01::100", 17, 5000, 53),
      reply: tuple("fd01::7", "fd01::2", 17, 53, 5000),
    },
    {
      original: tuple("10.1.0.2", "10.1.0.9", 6, 40000, 80),
      reply: tuple("10.1.0.9", "10.1.0.2", 6, 80, 40000),
    },
    {
      original: tuple("10.1.0.2", "10.1.0.9", 1),
      reply: tuple("10.1.0.9", "10.1.0.2", 1),
    },
  ];

  it("decodes flows, translated or not, of both families", () => {
    const flows = payloads("flow-dump").map(decodeFlow);
    expect(flows).to.have.deep.members(FLOWS);
  });

  it("reads them from the list in /proc as well", () => {
    const text = `ipv4     2 udp      17 599 src=10.1.0.2 dst=10.1.0.100 sport=5000 dport=53 [UNREPLIED] src=10.1.0.7 dst=10.1.0.2 sport=53 dport=5000 mark=0 zone=0 use=2
ipv6     10 udp      17 599 src=fd01:0000:0000:0000:0000:0000:0000:0002 dst=fd01:0000:0000:0000:0000:0000:0000:0100 sport=5000 dport=53 [UNREPLIED] src=fd01:0000:0000:0000:0000:0000:0000:0007 dst=fd01:0000:0000:0000:0000:0000:0000:0002 sport=53 dport=5000 mark=0 zone=0 use=2
ipv4     2 tcp      6 599 ESTABLISHED src=10.1.0.2 dst=10.1.0.9 sport=40000 dport=80 packets=3 bytes=156 src=10.1.0.9 dst=10.1.0.2 sport=80 dport=40000 packets=2 bytes=104 [ASSURED] mark=0 zone=0 use=2
ipv4     2 icmp     1 599 src=10.1.0.2 dst=10.1.0.9 type=8 code=0 id=7 [UNREPLIED] src=10.1.0.9 dst=10.1.0.2 type=0 code=0 id=7 mark=0 zone=0 use=2
`;
    expect(parseFlowTable(text)).to.have.deep.members(FLOWS);
    expect(parseFlowTable("")).to.deep.equal([]);
    const over = text.replace("ESTABLISHED", "TIME_WAIT");
    expect(parseFlowTable(over)).to.have.length(3);
    expect(parseFlowTable(text.replace("ESTABLISHED", "CLOSE_WAIT"))).to.have.length(4);
    expect(FLOWS.map(hasPorts)).to.deep.equal([true, true, true, false]);
  });

  it("decodes the number of flows", () => {
    expect(payloads("flow-count").map(decodeFlowCount)).to.deep.equal([4]);
  });

  it("encodes what deletes one flow", () => {
    const flow = {
      original: tuple("10.1.0.2", "10.1.0.100", 17, 5000, 53),
      reply: tuple("10.1.0.7", "10.1.0.2", 17, 53, 5000),
    };
    expect(Buffer.from(encodeFlowDelete(flow)).toString("hex")).to.equal(
      [
        "48000000" + "0201" + "0500" + "00000000" + "00000000", // length, type, flags, sequence, port
        "02000000", // AF_INET
        "3400" + "0280", // the tuple of the answers:
        "1400" + "0180" + "0800" + "0100" + "0a010007" + "0800" + "0200" + "0a010002", // addresses,
        "1c00" + "0280" + "0500" + "0100" + "11000000", // protocol,
        "0600" + "0200" + "00350000" + "0600" + "0300" + "13880000", // and ports
      ].join(""),
    );
  });
});
