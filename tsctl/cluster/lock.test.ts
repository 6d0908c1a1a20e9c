import { expect } from "chai";
import { refuse } from "#base/errors.ts";
import { seededRandom } from "#base/random.ts";
import { newUnlockKey } from "#base/unlock-key.ts";
import { Cluster, type ClusterSpec } from "#proto/gen/types.ts";
import type { Control, NodeLocal } from "#tsctl/cli.ts";
import { FakeCluster, tsctl } from "#tsctl/fake-cluster.ts";

const KEY = newUnlockKey(seededRandom(1));

describe("tsctl cluster update, unlock-key, unlock", () => {
  const cluster = () => {
    let version = 4;
    const specs: ClusterSpec[] = [];
    const spec = { name: "c", heartbeatMs: 5_000, taskHistory: 5, certValidityMs: 1, poolsV4: ["10.0.0.0/8"] };
    const control = {
      getCluster: async () => ({ view: { cluster: Cluster.fromPartial({ meta: { version: version++ }, spec }) } }),
      updateCluster: async (request: { version: number; spec: ClusterSpec }) => {
        if (request.version < 6) throw refuse("stale_version", "version", "changed", "Again");
        specs.push(request.spec);
        return { cluster: undefined, unlockKey: request.spec.autolock ? KEY : "" };
      },
    } as unknown as Partial<Control>;
    return { specs, run: (line: string) => tsctl(new FakeCluster(), ["cluster", ...line.split(" ")], { control }) };
  };

  it("update changes what was given, from the newest version, and shows the key once", async () => {
    const { run, specs } = cluster();
    const on = await run("update --autolock");
    expect(on.err).to.equal("");
    expect(on.out)
      .to.match(/^Cluster updated\.\n/)
      .and.contain(`    ${KEY}\n`);
    const other = await run("update --task-history-limit 2 --dispatcher-heartbeat 10s --cert-expiry 24h");
    expect(other.out).to.equal("Cluster updated.\n");
    await run("update --autolock=false");
    expect(
      specs.map((s) => [s.autolock, s.taskHistory, s.heartbeatMs, s.certValidityMs, s.poolsV4.join()]),
    ).to.deep.equal([
      [true, 5, 5_000, 1, "10.0.0.0/8"],
      [false, 2, 10_000, 86_400_000, "10.0.0.0/8"],
      [false, 5, 5_000, 1, "10.0.0.0/8"],
    ]);
  });

  it("update refuses wrong and missing flags before it asks anybody", async () => {
    const wrong = await tsctl(undefined, ["cluster", "update", "--autolock=maybe", "--cert-expiry=x"]);
    expect([wrong.code, wrong.err.includes("--autolock"), wrong.err.includes("--cert-expiry")]).to.deep.equal([
      1,
      true,
      true,
    ]);
    expect((await tsctl(undefined, ["cluster", "update"])).err).to.contain("nothing is to change");
  });

  it("unlock-key shows the key, makes a new one, and says when there is none", async () => {
    const asked: boolean[] = [];
    const control = (unlockKey: string) =>
      ({
        getUnlockKey: async ({ rotate }: { rotate: boolean }) => {
          asked.push(rotate);
          return { unlockKey };
        },
      }) as Partial<Control>;
    const run = (args: string[], key = KEY) =>
      tsctl(new FakeCluster(), ["cluster", "unlock-key", ...args], { control: control(key) });
    expect((await run(["-q"])).out).to.equal(`${KEY}\n`);
    expect((await run([])).out)
      .to.contain(`    ${KEY}\n`)
      .and.contain("tsctl cluster unlock");
    expect((await run(["--rotate"])).out)
      .to.contain("Rotated")
      .and.contain("old one");
    expect(asked).to.deep.equal([false, false, true]);
    const none = await run([], "");
    expect([none.code, none.out]).to.deep.equal([1, ""]);
    expect(none.err).to.contain("autolock is off");
  });

  it("unlock reads the key from a pipe, and does not send what is no key", async () => {
    const given: string[] = [];
    const local = {
      unlock: async ({ unlockKey }: { unlockKey: string }) => {
        given.push(unlockKey);
        return {};
      },
    } as Partial<NodeLocal>;
    const run = (input: string) => tsctl(new FakeCluster(), ["cluster", "unlock"], { input, local });
    expect(await run(`${KEY}\n`)).to.include({ code: 0, out: "", err: "" });
    expect((await run("TSWKEY-1-abc\n")).err).to.contain("TSWKEY-1-");
    expect((await run("")).err).to.contain("empty");
    expect(given).to.deep.equal([KEY]);
  });
});
