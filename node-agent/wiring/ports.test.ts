import { expect } from "chai";
import { releasePort, takePort } from "#net/kernel/listeners.ts";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";
import type { PublishedPort } from "#net/model/host-networks.ts";
import { createPorts, takenBy } from "#node-agent/wiring/ports.ts";

const port = (number: number): PublishedPort => ({
  protocol: "tcp",
  port: number,
  hostIp: "",
  target: 80,
  backends: [],
});

describe("published ports of a node", () => {
  let netns: ScratchNetns;
  before(() => void (netns = scratchNetns()));
  after(() => netns.remove());

  it("are held while they are wanted, and refused as long as someone else has them", () => {
    const other = takePort(netns.path, port(8081))!;
    const ports = createPorts(netns.path);
    expect(ports.hold([port(8080), port(8081)])).to.deep.equal([port(8080)]);
    expect(ports.refusal(port(8080))).to.equal(undefined);
    expect(ports.refusal(port(8081))!.code).to.equal("conflict");
    expect(ports.errors()).to.have.length(1);
    expect(ports.errors()[0]).to.match(/8081\/tcp of this host is in use/);
    expect(() => takePort(netns.path, port(8080))).to.throw(/8080/);
    releasePort(other);
    expect(ports.hold([port(8081)])).to.deep.equal([port(8081)]);
    expect(ports.errors()).to.deep.equal([]);
    releasePort(takePort(netns.path, port(8080))!);
    ports.releaseAll();
    releasePort(takePort(netns.path, port(8081))!);
  });

  it("of a container on the host's network are refused with the name of who listens there", () => {
    const listener = { protocol: "tcp", port: 8080, hostIp: "192.0.2.1", owner: "nginx (pid 812)" } as const;
    const refusal = (more: object) => takenBy([listener], { protocol: "tcp", port: 8080, hostIp: "", ...more });
    expect(refusal({})?.message).to.equal("port 8080/tcp of this host is in use by nginx (pid 812)");
    expect(refusal({})?.code).to.equal("conflict");
    expect(refusal({ hostIp: "192.0.2.1" })).not.to.equal(undefined);
    for (const other of [{ hostIp: "192.0.2.2" }, { port: 8081 }, { protocol: "udp" }])
      expect(refusal(other)).to.equal(undefined);
  });
});
