// A node's identity on disk: key, certificate, CA certificate, and what does not fit into a certificate.
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileDurably } from "#base/node/files.ts";
import { readCertificate, type Subject } from "#base/node/pki.ts";

export type NodeIdentity = {
  readonly keyPem: string;
  readonly certificatePem: string;
  readonly caPem: string;
};

export type Membership = NodeIdentity & Subject;

const NAMES = { keyPem: "node.key", certificatePem: "node.crt", caPem: "ca.crt" } as const;

export const saveIdentity = (dir: string, identity: NodeIdentity): void => {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  // The certificate last: with it the identity is complete.
  for (const part of ["keyPem", "caPem", "certificatePem"] as const)
    writeFileDurably(join(dir, NAMES[part]), identity[part]);
};

/** `undefined` when the node belongs to no cluster. */
export const loadIdentity = (dir: string): Membership | undefined => {
  if (!existsSync(join(dir, NAMES.certificatePem))) return undefined;
  const read = (part: keyof typeof NAMES) => readFileSync(join(dir, NAMES[part]), "utf8");
  const identity = { keyPem: read("keyPem"), certificatePem: read("certificatePem"), caPem: read("caPem") };
  return { ...identity, ...readCertificate(identity.certificatePem) };
};

export const deleteIdentity = (dir: string): void => rmSync(dir, { recursive: true, force: true });
