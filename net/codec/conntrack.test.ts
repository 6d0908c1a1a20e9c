import { expect } from "chai";
import { decodeFlow, decodeFlowCount, encodeFlowDelete } from "./conntrack.ts";
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

  it("decodes flows, translated or not, of both families", () => {
    const flows = payloads("flow-dump").map(decodeFlow);
    expect(flows.map(({ id: _, ...flow }) => flow)).to.have.deep.members([
      {
        original: tuple("10.1.0.2", "10.1.0.100", 17, 5000, 53),
        reply: tuple("10.1.0.7", "10.1.0.2", 17, 53, 5000),
        destinationTranslated: true,
      },
      {
        original: tuple("fd01::2", "fd01::100", 17, 5000, 53),
        reply: tuple("fd01::7", "fd01::2", 17, 53, 5000),
        destinationTranslated: true,
      },
      {
        original: tuple("10.1.0.2", "10.1.0.9", 6, 40000, 80),
        reply: tuple("10.1.0.9", "10.1.0.2", 6, 80, 40000),
        destinationTranslated: false,
      },
      {
        original: tuple("10.1.0.2", "10.1.0.9", 1),
        reply: tuple("10.1.0.9", "10.1.0.2", 1),
        destinationTranslated: false,
      },
    ]);
    expect(new Set(flows.map((flow) => Buffer.from(flow.id).toString("hex"))).size).to.equal(4);
    expect(flows.every((flow) => flow.id.length === 4)).to.equal(true);
  });

  it("decodes the number of flows", () => {
    expect(payloads("flow-count").map(decodeFlowCount)).to.deep.equal([4]);
  });

  it("encodes what deletes one flow", () => {
    const flow = {
      original: tuple("10.1.0.2", "10.1.0.100", 17, 5000, 53),
      reply: tuple("10.1.0.7", "10.1.0.2", 17, 53, 5000),
      destinationTranslated: true,
      id: Uint8Array.of(1, 2, 3, 4),
    };
    expect(Buffer.from(encodeFlowDelete(flow)).toString("hex")).to.equal(
      [
        "50000000" + "0201" + "0500" + "00000000" + "00000000", // length, type, flags, sequence, port
        "02000000", // AF_INET
        "3400" + "0180", // the original tuple:
        "1400" + "0180" + "0800" + "0100" + "0a010002" + "0800" + "0200" + "0a010064", // addresses,
        "1c00" + "0280" + "0500" + "0100" + "11000000", // protocol,
        "0600" + "0200" + "13880000" + "0600" + "0300" + "00350000", // ports,
        "0800" + "0c00" + "01020304", // and the id
      ].join(""),
    );
  });
});
