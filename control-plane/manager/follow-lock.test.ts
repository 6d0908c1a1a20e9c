// Every moment at which the power may fail while a manager's lock or its node's key changes: what is on the disk then opens
// with one key, and goes on to what the cluster wants.
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { silentLogger } from "#base/log.ts";
import { digestOfKey, loadIdentity, lockedSubject, type Membership, saveIdentity } from "#base/node/identity-files.ts";
import { createCa, createKeyAndRequest, issueCertificate } from "#base/node/pki.ts";
import { seededRandom } from "#base/random.ts";
import { newUnlockKey } from "#base/unlock-key.ts";
import { followLock } from "#control-plane/manager/follow-lock.ts";
import { openMemberKeys } from "#control-plane/manager/member-keys.ts";
import { type KeyFile, nodeWrappingKey, unlockWrappingKey } from "#control-plane/raft-host/key-file.ts";
import type { State } from "#control-plane/state/types.ts";
import { Cluster } from "#proto/gen/types.ts";

const random = seededRandom(4);
const [K1, K2] = [newUnlockKey(random), newUnlockKey(random)];

describe("a manager's lock", () => {
  let root: string;
  let identities: Membership[];
  let folders = 0;
  before(async () => {
    const ca = await createCa(Date.now());
    const subject = { nodeId: "n1", clusterId: "c1", role: "manager" as const };
    const make = async (): Promise<Membership> => {
      const { keyPem, csrPem } = await createKeyAndRequest();
      const certificatePem = await issueCertificate(ca, csrPem, subject, Date.now(), 3_600_000);
      return { keyPem, certificatePem, caPem: ca.certificatePem, ...subject };
    };
    identities = [await make(), await make(), await make()];
  });
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "tswarm-lock-"));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const newFolder = () => join(root, String(++folders));
  const wrappedBy = (dir: string): string[] =>
    JSON.parse(readFileSync(join(dir, "raft", "keys"), "utf8")).boxes.map((b: { key: string }) => b.key);

  /** As the agent and its manager start: with the key that opens the identity, if it is locked. */
  const start = (dir: string): { identity: Membership; keys: KeyFile; unlockKey: string } => {
    const identityDir = join(dir, "identity");
    for (const unlockKey of lockedSubject(identityDir) ? [K1, K2] : [""]) {
      try {
        const identity = loadIdentity(identityDir, unlockKey)!;
        return { identity, keys: openMemberKeys(join(dir, "raft"), identity, unlockKey), unlockKey };
      } catch (error) {
        if ((error as { code: string }).code !== "forbidden" || unlockKey === K2) throw error;
      }
    }
    throw new Error("not reached");
  };

  /** An agent (as node-agent/local/node.ts) and a manager that follows `cluster`. `point` is called after each change on disk. */
  const live = (dir: string, cluster: { version: number; unlockKey: string }, point: () => void) => {
    const { identity, keys, unlockKey } = start(dir);
    const node = { identity, unlockKey };
    let tell: Parameters<State["watch"]>[0] = () => {};
    const observed = new Proxy(keys, {
      get(target, name) {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          const result = value.apply(target, args);
          if (["add", "keepOnly", "rotate"].includes(String(name))) point();
          return result;
        };
      },
    });
    let pending = Promise.resolve(true);
    const look = followLock({
      state: {
        cluster: () => Cluster.fromPartial({ unlockKey: cluster.unlockKey, lockVersion: cluster.version }),
        watch: (listener) => {
          tell = listener;
          return () => {};
        },
      } as Pick<State, "cluster" | "watch">,
      keys: observed,
      agent: {
        keep: (wanted, keyPem) => {
          pending = Promise.resolve().then(() => {
            if (digestOfKey(node.identity.keyPem) !== digestOfKey(keyPem)) return false;
            const { formerKeyPems: _, ...kept } = node.identity;
            saveIdentity(join(dir, "identity"), kept, wanted);
            Object.assign(node, { identity: kept, unlockKey: wanted });
            point();
            return true;
          });
          return pending;
        },
      },
      keyPem: () => node.identity.keyPem,
      logger: silentLogger,
      onFailure: (error) => {
        throw error;
      },
    });
    return {
      node,
      keys,
      /** As the agent does with a new certificate. */
      renew(next: Membership): void {
        const { keyPem, formerKeyPems = [] } = node.identity;
        node.identity = node.unlockKey === "" ? { ...next, formerKeyPems: [keyPem, ...formerKeyPems] } : next;
        saveIdentity(join(dir, "identity"), node.identity, node.unlockKey);
        point();
        look();
      },
      change(): void {
        tell({ index: 1, events: [], restored: true });
      },
      async settled(): Promise<void> {
        for (let i = 0; i < 20; i++) {
          await pending;
          await new Promise((resolve) => setImmediate(resolve));
        }
      },
    };
  };

  const expectSettled = (dir: string, unlockKey: string): void => {
    const { identity, unlockKey: found } = start(dir);
    expect(found).to.equal(unlockKey);
    expect(identity.formerKeyPems).to.equal(undefined);
    const wanted = unlockKey === "" ? nodeWrappingKey(identity.keyPem) : unlockWrappingKey(unlockKey);
    expect(wrappedBy(dir)).to.deep.equal([wanted.id]);
  };

  /** A manager that has been settled with `unlockKey` in version 1 of the lock. */
  const settled = async (unlockKey: string): Promise<string> => {
    const dir = newFolder();
    saveIdentity(join(dir, "identity"), identities[0]!);
    await live(dir, { version: 1, unlockKey }, () => {}).settled();
    expectSettled(dir, unlockKey);
    return dir;
  };

  const CHANGES: readonly [string, string, string, "" | "before" | "while" | "twice"][] = [
    ["autolock goes on", "", K1, ""],
    ["the unlock key is rotated", K1, K2, ""],
    ["autolock goes off", K1, "", ""],
    ["the certificate is renewed", "", "", "before"],
    ["the certificate of a locked manager is renewed", K1, K1, "before"],
    ["the certificate is renewed twice while the manager does not look", "", "", "twice"],
    ["the certificate is renewed just before autolock goes on", "", K1, "before"],
    ["the certificate is renewed while autolock goes on", "", K1, "while"],
    ["the certificate is renewed while the key is rotated", K1, K2, "while"],
    ["the certificate is renewed while autolock goes off", K1, "", "while"],
  ];
  for (const [what, from, to, renewal] of CHANGES)
    it(`opens with one key wherever it is cut off: ${what}`, async () => {
      const dir = await settled(from);
      const before = start(dir).keys;
      const first = before.current();
      const cluster = { version: 1, unlockKey: from };
      const cuts: string[] = [];
      const manager = live(dir, cluster, () => {
        const copy = newFolder();
        cpSync(dir, copy, { recursive: true });
        cuts.push(copy);
      });
      await manager.settled();
      if (renewal === "before" || renewal === "twice") manager.renew(identities[1]!);
      if (renewal === "twice") manager.renew(identities[2]!);
      if (from !== to) {
        Object.assign(cluster, { version: 2, unlockKey: to });
        manager.change();
      }
      if (renewal === "while") manager.renew(identities[1]!);
      await manager.settled();
      expectSettled(dir, to);
      const last = manager.keys.current();
      expect(last.id).to.equal(first.id + (from === to ? 0 : 1));

      expect(cuts.length).to.be.greaterThan(from === to && from !== "" ? 0 : 2);
      for (const [n, cut] of cuts.entries()) {
        const { keys, unlockKey } = start(cut);
        expect(unlockKey, `cut ${n}`).to.be.oneOf([from, to]);
        // What was written with the former data key is readable, and with the new one, if there is one.
        expect(keys.get(first.id), `cut ${n}`).to.deep.equal(first.key);
        if (keys.current().id === last.id) expect(keys.current()).to.deep.equal(last);
        await live(cut, cluster, () => {}).settled();
        expectSettled(cut, to);
      }
    });

  it("does not go back to what the log says of earlier times", async () => {
    const dir = await settled(K1);
    const cluster = { version: 2, unlockKey: K2 };
    const manager = live(dir, cluster, () => {});
    await manager.settled();
    expectSettled(dir, K2);
    // A restart replays the log: the cluster as it was.
    let changes = 0;
    const replayed = { version: 1, unlockKey: K1 };
    const again = live(dir, replayed, () => changes++);
    await again.settled();
    expectSettled(dir, K2);
    Object.assign(replayed, cluster);
    again.change();
    await again.settled();
    expect(changes).to.equal(0);
  });

  it("a key that is not the one of the disk is refused, and the disk stays as it is", async () => {
    const dir = await settled(K1);
    const files = () => ["identity/identity.json", "raft/keys"].map((f) => readFileSync(join(dir, f), "utf8"));
    const before = files();
    for (const [key, code] of [
      ["", "unavailable"],
      [K2, "forbidden"],
    ] as const)
      expect(() => loadIdentity(join(dir, "identity"), key))
        .to.throw()
        .with.property("code", code);
    expect(files()).to.deep.equal(before);
    expect(before.join("")).to.not.include("PRIVATE KEY");
    expect(lockedSubject(join(dir, "identity"))).to.deep.equal({ nodeId: "n1", clusterId: "c1", role: "manager" });
  });
});
