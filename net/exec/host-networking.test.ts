import { expect } from "chai";
import { HostNetworking } from "#net/exec/host-networking.ts";
import { type ScratchHost, scratchHost } from "#net/exec/testing/scratch-host.ts";
import { bridgeName } from "#net/model/ifname.ts";
import { attach, bridgeNetwork, container, host, overlayNetwork } from "#net/plan/testdata.ts";

describe("HostNetworking", () => {
  let scratch: ScratchHost;
  let networking: HostNetworking;
  const bridge = bridgeNetwork(1);
  const withContainers = (n: number) =>
    host({
      networks: [bridge],
      containers: Array.from({ length: n }, (_, i) => container(`t${i}`, attach(bridge, i + 2))),
    });

  beforeEach(async () => {
    scratch = scratchHost();
    networking = await HostNetworking.start(scratch.place);
  });
  afterEach(async () => {
    await networking.teardown();
    await networking.stop();
    scratch.remove();
  });

  const ports = (): number => scratch.netns.ip("link").filter((l) => l.ifname.startsWith("tsv")).length;

  it("applies in order, and what waits as one with the latest", async () => {
    const first = networking.apply(withContainers(1));
    const second = networking.apply(withContainers(2));
    const third = networking.apply(withContainers(3));
    expect((await first).errors).to.deep.equal([]);
    expect(await second).to.equal(await third);
    expect(ports()).to.equal(3);
  });

  it("changes nothing and says why when the VTEP address is missing", async () => {
    const { ops, errors } = await networking.apply({ ...withContainers(1), networks: [bridge, overlayNetwork(1)] });
    expect(ops).to.equal(0);
    expect(errors.map((e) => e.object)).to.deep.equal(["plan"]);
    expect(errors[0]!.reason).to.match(/192\.0\.2\.1/);
  });

  it("does not touch a foreign link that has our name: reports it and wires the rest", async () => {
    const name = bridgeName(bridge.id, bridge.name);
    scratch.netns.exec("ip", "tuntap", "add", "dev", name, "mode", "tap");
    const desired = withContainers(1);
    const { errors } = await networking.apply({ ...desired, containers: [...desired.containers, container("alone")] });
    expect(errors[0]!.reason).to.match(/EEXIST/);
    expect(new Set(errors.map((e) => e.namespace))).to.deep.equal(new Set(["", "c-t0"]));
    expect(scratch.netns.ip("link", "show", name)[0].linkinfo.info_kind).to.equal("tun");
    scratch.netns.exec("ip", "link", "del", name);
    expect((await networking.apply(desired)).errors).to.deep.equal([]);
  });

  it("repairs", async () => {
    await networking.apply(withContainers(2));
    scratch.netns.exec("ip", "link", "del", scratch.netns.ip("link").find((l) => l.ifname.startsWith("tsv"))!.ifname);
    const { drift, errors } = await networking.repair(withContainers(2));
    expect(errors).to.deep.equal([]);
    expect(drift.map(({ kind, problem }) => `${kind} ${problem}`)).to.include("link missing");
    expect(ports()).to.equal(2);
  });

  it("refuses when it was stopped", async () => {
    await networking.stop();
    let code = "";
    await networking.apply(withContainers(1)).catch((error) => (code = error.code));
    expect(code).to.equal("cancelled");
    networking = await HostNetworking.start(scratch.place);
  });
});
