// A node's identity on disk: key, certificate and CA certificate in one file, since a key without its certificate, as a
// crash during a renewal could leave it, would lock the node out. In a cluster with autolock a manager's keys are sealed with
// the unlock key: who has only its disk can't speak as a manager.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { reading, refuse, TswarmError } from "#base/errors.ts";
import { writeFileDurably } from "#base/node/files.ts";
import { readCertificate, type Subject } from "#base/node/pki.ts";
import { type Box, openBox, sealBox, unlockBoxKey } from "#base/node/sealed-box.ts";

export type NodeIdentity = Keys & {
  readonly certificatePem: string;
  readonly caPem: string;
};

type Keys = {
  readonly keyPem: string;
  /**
   * A manager's former keys, newest first: with which its log's data keys may still be wrapped, as long as the manager has
   * not said that they are wrapped with the present one.
   */
  readonly formerKeyPems?: readonly string[];
};

export type Membership = NodeIdentity & Subject;

type Stored = Omit<NodeIdentity, keyof Keys> & (Keys | { readonly locked: Box });

const PURPOSE = "identity";

const fileIn = (dir: string): string => join(dir, "identity.json");

/** `unlockKey` empty: anybody who can read the file has the keys. */
export const saveIdentity = (dir: string, identity: NodeIdentity, unlockKey = ""): void => {
  const { keyPem, formerKeyPems, certificatePem, caPem } = identity;
  const keys: Keys = formerKeyPems === undefined ? { keyPem } : { keyPem, formerKeyPems };
  const stored: Stored =
    unlockKey === ""
      ? { ...keys, certificatePem, caPem }
      : { locked: sealBox(unlockBoxKey(unlockKey, PURPOSE), JSON.stringify(keys), PURPOSE), certificatePem, caPem };
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeFileDurably(fileIn(dir), JSON.stringify(stored));
};

const damaged = (): TswarmError => new TswarmError("internal", "this node's identity file is damaged");

const areTexts = (...values: unknown[]): boolean => values.every((value) => typeof value === "string");

const isStored = (found: (Partial<Keys & { locked: Box }> & Partial<Stored>) | null): found is Stored => {
  if (!areTexts(found?.certificatePem, found?.caPem)) return false;
  const { locked, keyPem, formerKeyPems } = found!;
  if (locked) return areTexts(locked.key, locked.nonce, locked.sealed);
  return (
    areTexts(keyPem) && (formerKeyPems === undefined || (Array.isArray(formerKeyPems) && areTexts(...formerKeyPems)))
  );
};

const load = (dir: string): Stored | undefined => {
  let text: string;
  try {
    text = readFileSync(fileIn(dir), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const found = reading("internal", "this node's identity file", () => JSON.parse(text));
  if (!isStored(found)) throw damaged();
  return found;
};

const subjectOf = ({ certificatePem }: Stored): Subject => {
  const { nodeId, clusterId, role } = reading("internal", "this node's certificate", () =>
    readCertificate(certificatePem),
  );
  return { nodeId, clusterId, role };
};

export const locked = (): TswarmError =>
  new TswarmError("unavailable", "the cluster is locked. Unlock it with `tsctl cluster unlock`", { retryable: false });

/**
 * `undefined` when the node belongs to no cluster. Throws `unavailable` when the keys are locked and no `unlockKey` is given,
 * `forbidden` when it is another one.
 */
export const loadIdentity = (dir: string, unlockKey = ""): Membership | undefined => {
  const stored = load(dir);
  if (stored === undefined) return undefined;
  const { certificatePem, caPem } = stored;
  const subject = subjectOf(stored);
  const keys = "locked" in stored ? unlock(stored.locked, unlockKey) : stored;
  return { ...keys, certificatePem, caPem, ...subject };
};

const unlock = (box: Box, unlockKey: string): Keys => {
  if (unlockKey === "") throw locked();
  const key = unlockBoxKey(unlockKey, PURPOSE);
  if (box.key !== key.id)
    throw refuse(
      "forbidden",
      "unlock key",
      "it is not the one that this manager is locked with",
      "A manager that was down while the key was rotated needs the key that was valid when it went down",
    );
  try {
    return JSON.parse(openBox(key, box, PURPOSE));
  } catch (cause) {
    throw new TswarmError("internal", "this node's identity file is damaged", { cause });
  }
};

/** Who a node is whose keys are locked; `undefined` when they are not, or when it belongs to no cluster. */
export const lockedSubject = (dir: string): Subject | undefined => {
  const stored = load(dir);
  return stored !== undefined && "locked" in stored ? subjectOf(stored) : undefined;
};

/** How agent and manager tell each other which private key they mean. */
export const digestOfKey = (keyPem: string): string => createHash("sha256").update(keyPem).digest("hex");

export const deleteIdentity = (dir: string): void => rmSync(dir, { recursive: true, force: true });
