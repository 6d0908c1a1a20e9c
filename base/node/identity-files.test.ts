import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { writeFileDurably } from "#base/node/files.ts";
import { deleteIdentity, loadIdentity, lockedSubject, saveIdentity } from "#base/node/identity-files.ts";
import { createCa, createKeyAndRequest, issueCertificate } from "#base/node/pki.ts";
import { seededRandom } from "#base/random.ts";
import { newUnlockKey } from "#base/unlock-key.ts";

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

  it("a locked identity shows who it is, and its keys only to the unlock key", async () => {
    const ca = await createCa(Date.now());
    const { keyPem, csrPem } = await createKeyAndRequest();
    const subject = { nodeId: "n1", clusterId: "c1", role: "manager" as const };
    const certificatePem = await issueCertificate(ca, csrPem, subject, Date.now(), 3_600_000);
    const identity = { keyPem, formerKeyPems: ["former"], certificatePem, caPem: ca.certificatePem };
    const [key, other] = [newUnlockKey(seededRandom(1)), newUnlockKey(seededRandom(2))];
    const folder = join(dir, "identity");
    saveIdentity(folder, identity);
    expect(lockedSubject(folder)).to.equal(undefined);
    saveIdentity(folder, identity, key);
    const bytes = readFileSync(join(folder, "identity.json"), "utf8");
    expect(bytes).to.not.include("PRIVATE KEY").and.not.include("former");
    expect(lockedSubject(folder)).to.deep.equal(subject);
    expect(loadIdentity(folder, key)).to.deep.equal({ ...identity, ...subject });
    for (const [given, code] of [
      ["", "unavailable"],
      [other, "forbidden"],
    ] as const)
      expect(() => loadIdentity(folder, given))
        .to.throw()
        .with.property("code", code);
    const changed = JSON.parse(bytes);
    changed.locked.sealed = `AAAA${changed.locked.sealed.slice(4)}`;
    writeFileSync(join(folder, "identity.json"), JSON.stringify(changed));
    expect(() => loadIdentity(folder, key))
      .to.throw("damaged")
      .with.property("code", "internal");
  });

  it("a durable write replaces the whole file and leaves nothing beside it", () => {
    const path = join(dir, "file");
    writeFileDurably(path, "a long first text");
    writeFileDurably(path, "short");
    expect(readdirSync(dir)).to.deep.equal(["file"]);
    expect(statSync(path).size).to.equal(5);
  });
});
