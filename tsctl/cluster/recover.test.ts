import { expect } from "chai";
import { FakeCluster, tsctl } from "#tsctl/fake-cluster.ts";

describe("tsctl cluster recover", () => {
  let asked: unknown[] = [];
  beforeEach(() => {
    asked = [];
  });
  const run = (args: string[], input?: string) =>
    tsctl(new FakeCluster(), ["cluster", "recover", ...args], {
      ...(input === undefined ? {} : { input }),
      local: {
        recover: async (request) => {
          asked.push(request);
          return { nodeId: "n1", without: ["beta", "gamma"], kept: "/var/lib/tswarm/kept", index: 42 };
        },
      },
    });

  it("needs the flag that says what it does", async () => {
    const { code, err } = await run([]);
    expect(code).to.equal(1);
    expect(err).to.contain("--force-new-cluster");
    expect(asked).to.deep.equal([]);
  });

  it("asks first, and does nothing without a yes", async () => {
    for (const input of ["n\n", "\n", ""]) {
      const { code, err } = await run(["--force-new-cluster"], input);
      expect([code, asked.length]).to.deep.equal([1, 0]);
      expect(err).to.contain("All other managers are left out for good").and.contain("nothing was changed");
    }
    expect((await run(["--force-new-cluster"], "y\n")).code).to.equal(0);
    expect(asked).to.have.length(1);
  });

  it("says what it did without the others, where the old log is, and what next", async () => {
    const { out, err } = await run(["--force-new-cluster", "--yes"]);
    expect(err).to.equal("");
    expect(out).to.contain("up to 42").and.contain("beta, gamma").and.contain("/var/lib/tswarm/kept");
    expect(out).to.contain("tsctl node promote");
  });
});
