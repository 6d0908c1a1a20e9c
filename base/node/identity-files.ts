// A node's identity on disk: key, certificate and CA certificate in one file, since a key without its certificate, as a
// crash during a renewal could leave it, would lock the node out.
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileDurably } from "#base/node/files.ts";
import { readCertificate, type Subject } from "#base/node/pki.ts";

export type NodeIdentity = {
  readonly keyPem: string;
  readonly certificatePem: string;
  readonly caPem: string;
  /**
   * A manager's former keys, newest first: with which its log's data keys may still be wrapped, as long as the manager has
   * not said that they are wrapped with the present one.
   */
  readonly formerKeyPems?: readonly string[];
};

export type Membership = NodeIdentity & Subject;

const fileIn = (dir: string): string => join(dir, "identity.json");

export const saveIdentity = (dir: string, identity: NodeIdentity): void => {
  const { keyPem, certificatePem, caPem, formerKeyPems } = identity;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeFileDurably(fileIn(dir), JSON.stringify({ keyPem, certificatePem, caPem, formerKeyPems }));
};

/** `undefined` when the node belongs to no cluster. */
export const loadIdentity = (dir: string): Membership | undefined => {
  let text: string;
  try {
    text = readFileSync(fileIn(dir), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const identity: NodeIdentity = JSON.parse(text);
  const { nodeId, clusterId, role } = readCertificate(identity.certificatePem);
  return { ...identity, nodeId, clusterId, role };
};

export const deleteIdentity = (dir: string): void => rmSync(dir, { recursive: true, force: true });
