import { expect } from "chai";
import { seededRandom } from "#base/random.ts";
import { SimDisk } from "#test-cluster/sim/sim-disk.ts";

describe("simulated disk", () => {
  const mounted = (disk: SimDisk, syncMs: () => number | "fault" = () => 1) =>
    disk.mount({ syncMs, wait: () => Promise.resolve(), beforeChange: () => {} });

  it("keeps what was synced, whatever happens to the rest", async () => {
    let lost = 0;
    let torn = 0;
    for (let seed = 1; seed <= 100; seed++) {
      const disk = new SimDisk(seededRandom(seed));
      const before = mounted(disk);
      before.makeDirectory("/d");
      const file = before.open("/d/a", "create");
      file.write(Buffer.alloc(1000, 1), 0);
      await file.sync();
      before.syncDirectory("/d");
      file.write(Buffer.alloc(3000, 2), 1000);
      before.open("/d/b", "create");
      disk.losePower();
      const bytes = mounted(disk).read("/d/a");
      expect(bytes.subarray(0, 1000)).deep.equal(Buffer.alloc(1000, 1));
      const arrived = bytes.subarray(1000).filter((b) => b === 2).length;
      if (arrived < 3000) lost++;
      if (arrived > 0 && arrived < 3000) torn++;
    }
    expect(lost).greaterThan(50);
    expect(torn).greaterThan(10);
  });

  it("loses names that were not synced, and undoes renames", async () => {
    const kept = new Set<string>();
    for (let seed = 1; seed <= 50; seed++) {
      const disk = new SimDisk(seededRandom(seed));
      const before = mounted(disk);
      before.makeDirectory("/d");
      const file = before.open("/d/a", "create");
      before.syncDirectory("/d");
      file.write(Buffer.from("x"), 0);
      await file.sync();
      before.rename("/d/a", "/d/b");
      before.open("/d/c", "create");
      disk.losePower();
      kept.add(mounted(disk).list("/d").join(" "));
    }
    expect([...kept].sort()).deep.equal(["a", "b", "b c"]);
  });

  it("does not count a failed sync", async () => {
    const disk = new SimDisk(seededRandom(2));
    const before = mounted(disk, () => "fault");
    before.makeDirectory("/d");
    const failed = await before
      .open("/d/a", "create")
      .sync()
      .catch((error: Error) => error.message);
    expect(failed).contain("injected");
  });

  it("refuses to grow while it is full, but takes what replaces bytes", async () => {
    const disk = new SimDisk(seededRandom(3));
    const view = mounted(disk);
    view.makeDirectory("/d");
    const file = view.open("/d/a", "create");
    await file.fillTo(100);
    disk.full = 1;
    file.write(Buffer.alloc(100, 1), 0);
    expect(() => file.write(Buffer.alloc(1), 100)).throws("no space");
    expect(() => view.open("/d/b", "create")).throws("no space");
    disk.full = 0;
    file.write(Buffer.alloc(1), 100);
    expect(view.size("/d/a")).equal(101);
  });

  it("rots in bytes that were synced, and shows it after a restart at the latest", async () => {
    const disk = new SimDisk(seededRandom(4));
    const before = mounted(disk);
    before.makeDirectory("/d");
    const file = before.open("/d/a", "create");
    file.write(Buffer.alloc(100, 1), 0);
    expect(disk.rot(seededRandom(1))).equal(null);
    await file.sync();
    before.syncDirectory("/d");
    expect(disk.rot(seededRandom(1))).contain("/d/a");
    disk.losePower();
    expect(
      mounted(disk)
        .read("/d/a")
        .filter((byte) => byte !== 1),
    ).length(1);
  });
});
