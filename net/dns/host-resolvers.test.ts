import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { hostResolvers } from "./host-resolvers.ts";

describe("the host's resolvers", () => {
  const dir = mkdtempSync(join(tmpdir(), "resolvers-"));
  after(() => rmSync(dir, { recursive: true }));

  it("are none without a file, and follow it when it comes, changes, is replaced and goes", () => {
    const path = join(dir, "resolv.conf");
    const read = hostResolvers(path);
    const addresses = () => read().map((upstream) => upstream.address);
    expect(addresses()).to.deep.equal([]);
    writeFileSync(path, "nameserver 192.0.2.1\n");
    expect(addresses()).to.deep.equal(["192.0.2.1"]);
    expect(read()).to.equal(read());
    writeFileSync(path, "nameserver 192.0.2.1\nnameserver 192.0.2.2\n");
    expect(addresses()).to.deep.equal(["192.0.2.1", "192.0.2.2"]);
    writeFileSync(`${path}.new`, "nameserver 192.0.2.3\nnameserver 192.0.2.4\n");
    renameSync(`${path}.new`, path);
    expect(addresses()).to.deep.equal(["192.0.2.3", "192.0.2.4"]);
    rmSync(path);
    expect(addresses()).to.deep.equal([]);
  });
});
