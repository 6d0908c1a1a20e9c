// The commands against a manager in this process: what is sent is what the manager takes.
import { expect } from "chai";
import { silentLogger } from "#base/log.ts";
import { realClock } from "#base/node/system.ts";
import { createLeaderLoop } from "#control-plane/controllers/leader-loop.ts";
import { startTestManager, type TestManager } from "#control-plane/manager/test-manager.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { createClient } from "#proto/rpc/client.ts";
import type { Control } from "#tsctl/cli.ts";
import { FakeCluster, type FakeOptions, tsctl } from "#tsctl/fake-cluster.ts";

describe("tsctl network with a manager", () => {
  let manager: TestManager;
  let control: Control;
  let stopLoop = () => {};
  const run = (line: string, options: FakeOptions = {}) =>
    tsctl(new FakeCluster(), line.split(" "), { ...options, control });
  const inspect = async (name: string) => JSON.parse((await run(`network inspect -v ${name}`)).out)[0];
  before(async () => {
    manager = await startTestManager();
    const { replicated } = manager;
    const loop = createLeaderLoop({ replicated, clock: realClock, logger: silentLogger });
    loop.start();
    stopLoop = () => loop.stop();
    control = createClient(
      ControlDefinition,
      manager.dial(await manager.identity("m1", "manager")),
    ) as unknown as Control;
    while (replicated.state.ingressNetwork()?.nodes.length !== 2) await new Promise((next) => setTimeout(next, 5));
  });
  after(() => {
    stopLoop();
    manager.close();
  });

  it("shows the networks of a new cluster, with an address of the ingress network for each node", async () => {
    const { out } = await run("network ls --format {{.Name}}:{{.Driver}}:{{.Subnets}}");
    expect(out).to.match(
      /^bridge:bridge:172\.17\.0\.0\/16\nhost:host:\ningress:overlay:10\.0\.0\.0\/16,fd\S+::\/64\nnone:null:\n$/,
    );
    const { peers, usage } = await inspect("ingress");
    expect(peers.map((p: { hostname: string; ipv4: string }) => [p.hostname, p.ipv4])).to.deep.equal([
      ["alpha", "10.0.0.2"],
      ["beta", "10.0.0.3"],
    ]);
    expect(usage[0]).to.include({ used: 3, size: 65_534, free: 65_531 });
    expect(usage[1]).to.include({ used: 3, size: Number.MAX_SAFE_INTEGER });
  });

  it("makes, grows, templates, prunes and removes networks", async () => {
    const lines = [
      "network create --subnet 10.77.0.0/24 --label a=b --opt mtu=1400 back",
      "network update --subnet-add 10.78.0.0/24 --gateway 10.78.0.254 --label-add c=d --label-rm a back",
      "network create --config-only --ipv6 --opt mtu=1300 template",
      "network create --config-from template made",
      "network create -d macvlan --opt parent=eth0 --ip-range 192.0.2.128/25 --subnet 192.0.2.0/24 lan",
    ];
    for (const line of lines) expect(await run(line), line).to.include({ code: 0, err: "" });
    const back = await inspect("back");
    expect(back.subnets.map((s: { gateway: string }) => s.gateway)).to.deep.equal(["10.77.0.1", "10.78.0.254"]);
    expect(back.spec.annotations.labels).to.deep.equal({ c: "d" });
    expect(back.mtu).to.equal("1400");
    expect((await inspect("made")).subnets).to.have.length(2);
    const refused = await run("network update --subnet-add 10.77.0.0/16 back");
    expect(refused.err).to.contain("ipam[2].subnet: 10.77.0.0/16 overlaps 10.77.0.0/24 of the same network");
    expect(refused.code).to.equal(1);
    const pruned = await run("network prune -f");
    expect(pruned.out).to.equal("Deleted Networks:\nback\nlan\nmade\n");
    expect((await run("network rm template")).code).to.equal(0);
    expect((await run("network rm ingress", { input: "y\n" })).code).to.equal(0);
    expect((await run("network create --ingress --subnet 10.200.0.0/24 mesh")).code).to.equal(0);
    while (manager.replicated.state.ingressNetwork()?.nodes.length !== 2)
      await new Promise((next) => setTimeout(next, 5));
    expect((await inspect("mesh")).nodes.map((n: { ipv4: string }) => n.ipv4)).to.deep.equal([
      "10.200.0.2",
      "10.200.0.3",
    ]);
  });
});
