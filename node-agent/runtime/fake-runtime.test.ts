import { expect } from "chai";
import { FakeRuntime } from "./fake-runtime.ts";
import type { ContainerSpec } from "./runtime.ts";

const spec = { id: "a", labels: {}, logPath: "/log", limits: { memoryBytes: 0 } } as unknown as ContainerSpec;

describe("FakeRuntime", () => {
  it("goes through a container's life and keeps the calls", async () => {
    const runtime = new FakeRuntime();
    await runtime.create(spec);
    expect(await runtime.create(spec).catch((e) => e.code)).to.equal("name_conflict");
    await runtime.start("a");
    runtime.exit("a", 3);
    expect((await runtime.wait("a")).code).to.equal(3);
    expect(await runtime.start("a").catch((e) => e.code)).to.equal("conflict");
    expect(await runtime.list()).to.containSubset([{ id: "a", state: "exited", exit: { code: 3 } }]);
    await runtime.remove("a");
    expect(await runtime.wait("a").catch((e) => e.code)).to.equal("not_found");
    expect(runtime.calls).to.deep.equal(["create a", "create a", "start a", "start a", "remove a"]);
  });
  it("fails once where the test says so", async () => {
    const runtime = new FakeRuntime();
    runtime.fail("create", "a");
    expect(await runtime.create(spec).catch((e) => e.code)).to.equal("internal");
    await runtime.create(spec);
  });
});
