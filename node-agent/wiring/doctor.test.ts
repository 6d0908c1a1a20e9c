import { expect } from "chai";
import type { Clock } from "#base/clock.ts";
import { silentLogger } from "#base/log.ts";
import type { ApplyReport } from "#net/exec/host-networking.ts";
import type { Difference } from "#net/plan/differences.ts";
import { attach, container, host, overlayNetwork } from "#net/plan/testdata.ts";
import { startDoctor } from "#node-agent/wiring/doctor.ts";
import { objectInWords } from "#node-agent/wiring/words.ts";

const difference = (change: Partial<Difference> = {}): Difference => ({
  ...{ kind: "link", namespace: "o-4097", object: "br0", problem: "missing", expected: "bridge", found: "" },
  ...change,
});

const setUp = () => {
  let time = 0;
  const timers = new Set<{ at: number; callback: () => void }>();
  const clock: Clock = {
    now: () => 1_000_000 + time,
    monotonic: () => time,
    after(ms, callback) {
      const timer = { at: time + ms, callback };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
  };
  const asked: (readonly string[] | "all")[] = [];
  const at: number[] = [];
  const kernel = {
    drift: [] as Difference[],
    errors: [] as ApplyReport["errors"][number][],
    differs: [] as Difference[],
  };
  const ports: string[] = [];
  const doctor = startDoctor({
    clock,
    logger: silentLogger,
    isWired: () => true,
    settle: async () => {},
    async repair(namespaces) {
      asked.push(namespaces === undefined ? "all" : [...namespaces]);
      at.push(time);
      return { ops: 0, durationUs: 0, flowErrors: [], errors: kernel.errors, drift: kernel.drift };
    },
    inspect: async () => ({ differences: kernel.differs, checked: 9, durationUs: 5 }),
    portErrors: () => ports,
    objectInWords: ({ object }) => object,
  });
  const advance = async (ms: number): Promise<void> => {
    for (const end = time + ms; ; ) {
      const next = [...timers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) {
        time = end;
        return;
      }
      time = Math.max(time, next.at);
      timers.delete(next);
      next.callback();
      for (let i = 0; i < 5; i++) await null;
    }
  };
  return { doctor, advance, asked, at, kernel, ports };
};

describe("doctor of a node's networking", () => {
  it("looks at what was disturbed, once for what comes together, and at everything each minute", async () => {
    const { doctor, advance, asked } = setUp();
    doctor.disturbed(["", "o-4097"]);
    await advance(50);
    doctor.disturbed(["o-4097", "c-t1"]);
    await advance(1_000);
    expect(asked.flat().sort()).to.deep.equal(["", "c-t1", "o-4097"]);
    await advance(60_000);
    expect(asked.at(-1)).to.equal("all");
  });

  it("answers later and later who changes the same again and again, and at once after a quiet time", async () => {
    const { doctor, advance, at, kernel } = setUp();
    kernel.drift = [difference()];
    for (let i = 0; i < 200; i++) {
      doctor.disturbed(["o-4097"]);
      await advance(100);
    }
    expect(at.length).to.be.below(20);
    const { findings } = await doctor.examine({ repair: false });
    expect(findings[0]!.action).to.match(/^repaired; changed again \d+ times by others$/);
    kernel.drift = [];
    await advance(180_000);
    const before = at.length;
    doctor.disturbed(["o-4097"]);
    await advance(100);
    expect(at.length).to.equal(before + 1);
  });

  it("says since when, what is to be done, what failed and why", async () => {
    const { doctor, advance, kernel, ports } = setUp();
    kernel.differs = [difference(), difference({ object: "vxlan0" })];
    kernel.errors = [
      { link: "", namespace: "o-4097", object: "o-4097: link add vxlan0", code: "conflict", reason: "taken" },
    ];
    ports.push("port 80/tcp of this host is in use by nginx");
    await doctor.examine({ repair: true });
    await advance(5_000);
    const { findings, checked } = await doctor.examine({ repair: false });
    expect(checked).to.equal(9);
    expect(findings.map((f) => [f.kind, f.object, f.action, f.since])).to.deep.equal([
      ["link", "br0", "will be repaired", 1_000_000],
      ["link", "vxlan0", "failed: taken", 1_000_000],
      ["port", "port 80/tcp", "will be published when it is free", 1_000_000],
    ]);
  });

  it("tells followers, and keeps a bounded number", async () => {
    const { doctor, kernel } = setUp();
    const told: string[] = [];
    const stop = doctor.follow((findings) => told.push(...findings.map((f) => f.object)));
    kernel.drift = Array.from({ length: 500 }, (_, i) => difference({ object: `l${i}` }));
    const { findings } = await doctor.examine({ repair: true });
    expect(told).to.have.length(500);
    expect(findings.map((f) => f.object)).to.deep.equal(kernel.drift.slice(400).map((d) => d.object));
    stop();
    await doctor.examine({ repair: true });
    expect(told).to.have.length(500);
  });

  it("speaks of networks and tasks", () => {
    const network = overlayNetwork(1);
    const desired = host({ networks: [network], containers: [container("t1", attach(network, 2))] });
    const words = (change: Partial<Difference>) => objectInWords(difference(change), desired, () => "web.1");
    expect(words({})).to.equal("br0 in overlay app1");
    expect(words({ namespace: "c-t1", object: "eth0" })).to.equal("eth0 in task web.1");
    expect(words({ namespace: "", object: "tse4097" })).to.equal("tse4097 (way out of overlay app1) on the host");
    expect(words({ namespace: "c-t1", kind: "namespace", object: "c-t1" })).to.equal("task web.1");
  });
});
