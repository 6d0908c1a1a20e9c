// A minute of `make nemesis`: another plan with each run; a failure prints its seed.
import { expect } from "chai";
import { nemesisCluster, runNemesis } from "#test-cluster/nemesis/nemesis.ts";
import { findCluster, type TestCluster } from "#test-cluster/netns/cluster.ts";
import { type Footprint, footprint } from "#test-cluster/netns/footprint.ts";

const NAME = "tswnmt";
const NUMBER = 74;
const SECONDS = 45;

describe("nemesis", function () {
  this.timeout(240_000);
  let cluster: TestCluster;
  let clean: Footprint;

  before(async () => {
    await findCluster(NAME)?.down();
    clean = footprint([NAME]);
    cluster = await nemesisCluster(NAME, NUMBER, 3);
  });
  after(async () => {
    await cluster?.down();
    expect(footprint([NAME])).to.deep.equal(clean);
  });

  it("kills, pauses, partitions and full disks: what clients were told has an order, nothing acknowledged is lost", async () => {
    const seed = Date.now() % 1_000_000;
    const said: string[] = [`seed ${seed}`];
    const { problems, writes, reads, faults } = await runNemesis(cluster, {
      seed,
      seconds: SECONDS,
      say: (line) => said.push(line),
    });
    expect(problems, said.join("\n")).to.deep.equal([]);
    console.log(`      measured: ${faults} faults (seed ${seed}), ${writes} writes, ${reads} reads`);
    expect(faults).to.be.greaterThan(5);
    expect(writes).to.be.greaterThan(50);
  });
});
