import { X509Certificate } from "node:crypto";
import { expect } from "chai";
import { certificateDigest, createCa, createKeyAndRequest, issueCertificate, readCertificate } from "#base/node/pki.ts";

describe("pki", () => {
  it("issues a certificate that chains to the CA and carries who it is for", async () => {
    const now = Date.now();
    const ca = await createCa(now);
    const { csrPem, keyPem } = await createKeyAndRequest();
    const pem = await issueCertificate(ca, csrPem, { nodeId: "n1", clusterId: "c1", role: "manager" }, now, 3_600_000);
    const certificate = new X509Certificate(pem);
    expect(certificate.verify(new X509Certificate(ca.certificatePem).publicKey)).to.equal(true);
    expect(certificate.checkHost("tswarm-manager")).to.equal("tswarm-manager");
    expect(readCertificate(pem)).to.include({ nodeId: "n1", clusterId: "c1", role: "manager" });
    expect(keyPem).to.contain("PRIVATE KEY");
    expect(certificateDigest(ca.certificatePem)).to.match(/^[0-9a-f]{64}$/);
  });

  it("refuses what is no request", async () => {
    const ca = await createCa(Date.now());
    const error = await issueCertificate(ca, "junk", { nodeId: "n", clusterId: "c", role: "worker" }, 0, 1).catch(
      (e: unknown) => e,
    );
    expect(error).to.have.property("code", "invalid");
  });
});
