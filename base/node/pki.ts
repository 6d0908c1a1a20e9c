// Keys and X.509 certificates of a cluster: P-256 throughout. The CA signs node certificates whose subject carries
// CN = node id, O = cluster id, OU = role, so that both ends of every connection know whom they talk to.
import { createHash, createPrivateKey, randomBytes, webcrypto, X509Certificate } from "node:crypto";
import type * as X509 from "@peculiar/x509";
import { TswarmError } from "#base/errors.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const CA_VALIDITY_MS = 20 * 365 * 24 * 3600 * 1000;
/** Clocks of hosts differ: certificates are valid from an hour ago, as Swarm's are. */
const BACKDATE_MS = 3600 * 1000;

export type CertificateRole = "manager" | "worker";
export type KeyAndCertificate = { readonly keyPem: string; readonly certificatePem: string };

/** The DNS name in every certificate of that role; clients ask for it instead of a host name. */
export const serverName = (role: CertificateRole): string => `tswarm-${role}`;

/** Loaded when something is to be made or signed: 19 MiB that a process in its daily life does without. */
const loadX509 = async (): Promise<typeof X509> => {
  await import("reflect-metadata"); // what the library's dependency injection needs before it is loaded
  return import("@peculiar/x509");
};

const newKey = () => webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

const toPem = async (x509: typeof X509, key: webcrypto.CryptoKey): Promise<string> =>
  x509.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY");

const fromPem = (keyPem: string): Promise<webcrypto.CryptoKey> =>
  webcrypto.subtle.importKey(
    "pkcs8",
    createPrivateKey(keyPem).export({ type: "pkcs8", format: "der" }),
    ALGORITHM,
    true,
    ["sign"],
  );

const serial = () => randomBytes(16).toString("hex");

export const createCa = async (now: number): Promise<KeyAndCertificate> => {
  const x509 = await loadX509();
  const keys = await newKey();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: "CN=tswarm-ca",
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + CA_VALIDITY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  return { keyPem: await toPem(x509, keys.privateKey), certificatePem: certificate.toString("pem") };
};

/** A key that never leaves its node, and the request that shows its public half. */
export const createKeyAndRequest = async (): Promise<{ keyPem: string; csrPem: string }> => {
  const x509 = await loadX509();
  const keys = await newKey();
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: "CN=tswarm-node",
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return { keyPem: await toPem(x509, keys.privateKey), csrPem: csr.toString("pem") };
};

export type Subject = { readonly nodeId: string; readonly clusterId: string; readonly role: CertificateRole };

/** Signs the public key of `csrPem` for `subject`; names in the request itself are not trusted. Throws `invalid`. */
export const issueCertificate = async (
  ca: KeyAndCertificate,
  csrPem: string,
  subject: Subject,
  now: number,
  validityMs: number,
): Promise<string> => {
  const x509 = await loadX509();
  const csr = parseRequest(x509, csrPem);
  if (!(await csr.verify()))
    throw new TswarmError("invalid", "csr: its signature does not fit its key. Make a new request.");
  const issuer = new x509.X509Certificate(ca.certificatePem);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${subject.nodeId}, OU=${serverName(subject.role)}, O=${subject.clusterId}`,
    issuer: issuer.subject,
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + validityMs),
    signingAlgorithm: ALGORITHM,
    publicKey: csr.publicKey,
    signingKey: await fromPem(ca.keyPem),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension([
        { type: "dns", value: serverName(subject.role) },
        { type: "dns", value: subject.nodeId },
      ]),
    ],
  });
  return certificate.toString("pem");
};

const parseRequest = (x509: typeof X509, csrPem: string): X509.Pkcs10CertificateRequest => {
  try {
    return new x509.Pkcs10CertificateRequest(csrPem);
  } catch (cause) {
    throw new TswarmError("invalid", "csr: not a PKCS#10 request in PEM. Make a new request.", { cause });
  }
};

/** SHA-256 of the certificate's DER, hex: the digest in join tokens. */
export const certificateDigest = (certificatePem: string): string =>
  createHash("sha256").update(new X509Certificate(certificatePem).raw).digest("hex");

/** Who the certificate says it is, when it was issued and until when it is valid (ms). */
export const readCertificate = (
  certificatePem: string,
): Subject & { readonly issuedAt: number; readonly notAfter: number } => {
  const certificate = new X509Certificate(certificatePem);
  const fields = new Map(certificate.subject.split("\n").map((line) => line.split("=", 2) as [string, string]));
  return {
    nodeId: fields.get("CN") ?? "",
    clusterId: fields.get("O") ?? "",
    role: fields.get("OU") === serverName("manager") ? "manager" : "worker",
    issuedAt: Date.parse(certificate.validFrom) + BACKDATE_MS,
    notAfter: Date.parse(certificate.validTo),
  };
};
