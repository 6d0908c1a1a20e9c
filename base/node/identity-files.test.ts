import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { writeFileDurably } from "#base/node/files.ts";
import { deleteIdentity, loadIdentity, saveIdentity } from "#base/node/identity-files.ts";
import { createCa, createKeyAndRequest, issueCertificate } from "#base/node/pki.ts";

describe("files of a node", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "identity-"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it("an identity is whole or not there, for root's eyes only", async () => {
    const ca = await createCa(Date.now());
    const issue = async (role: "manager" | "worker") => {
      const { keyPem, csrPem } = await createKeyAndRequest();
      const subject = { nodeId: "n1", clusterId: "c1", role };
      const certificatePem = await issueCertificate(ca, csrPem, subject, Date.now(), 3_600_000);
      return { keyPem, certificatePem, caPem: ca.certificatePem };
    };
    const folder = join(dir, "identity");
    expect(loadIdentity(folder)).to.equal(undefined);
    const first = await issue("worker");
    saveIdentity(folder, first);
    expect(loadIdentity(folder)).to.deep.equal({ ...first, nodeId: "n1", clusterId: "c1", role: "worker" });
    // A renewal that was cut off leaves what was there.
    writeFileSync(join(folder, "identity.json.new"), "{");
    expect(loadIdentity(folder)).to.have.property("keyPem", first.keyPem);
    saveIdentity(folder, await issue("manager"));
    expect(loadIdentity(folder)).to.have.property("role", "manager");
    expect(statSync(join(folder, "identity.json")).mode & 0o777).to.equal(0o600);
    deleteIdentity(folder);
    expect(loadIdentity(folder)).to.equal(undefined);
  });

  it("a durable write replaces the whole file and leaves nothing beside it", () => {
    const path = join(dir, "file");
    writeFileDurably(path, "a long first text");
    writeFileDurably(path, "short");
    expect(readdirSync(dir)).to.deep.equal(["file"]);
    expect(statSync(path).size).to.equal(5);
  });
});
