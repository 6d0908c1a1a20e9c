import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { Clock } from "#base/clock.ts";
import { keepView } from "#node-agent/session/kept-view.ts";
import { applyAssignments, emptyView, loadView } from "#node-agent/session/view.ts";
import { Assignments, Assignments_Kind } from "#proto/gen/dispatcher.ts";

const task = (id: string) => ({ key: `task/${id}`, item: { $case: "task" as const, value: { id } } });
const endpoint = (id: string) => ({
  key: `endpoint/n/${id}`,
  item: { $case: "endpoint" as const, value: { taskId: id } },
});
const message = (appliesTo: number, more: Parameters<typeof Assignments.fromPartial>[0]) =>
  Assignments.fromPartial({ kind: Assignments_Kind.INCREMENTAL, appliesTo, sequence: appliesTo + 1, ...more });

describe("view", () => {
  it("takes changes in order, and refuses a gap", () => {
    let view = applyAssignments(
      emptyView,
      message(0, { kind: Assignments_Kind.COMPLETE, put: [task("a"), endpoint("x")] }),
    );
    view = applyAssignments(view, message(1, { put: [task("b")], remove: ["endpoint/n/x"] }));
    expect([...view.tasks.keys()]).to.deep.equal(["a", "b"]);
    expect(view.endpoints.size).to.equal(0);
    expect(() => applyAssignments(view, message(1, {}))).to.throw(/apply to 1, the view is at 2/);
    expect(() => applyAssignments(view, message(3, {}))).to.throw(/apply to 3/);
    view = applyAssignments(view, message(0, { kind: Assignments_Kind.COMPLETE, put: [task("c")] }));
    expect([...view.tasks.keys()]).to.deep.equal(["c"]);
  });
});

describe("kept view", () => {
  let dir: string;
  let path: string;
  let timers: (() => void)[];
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    after: (_ms, callback) => {
      timers.push(callback);
      return () => {
        timers = timers.filter((t) => t !== callback);
      };
    },
  };
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "view-"));
    path = join(dir, "view.bin");
    timers = [];
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it("which tasks are here is on disk at once, the rest a moment later, in one write", () => {
    const kept = keepView(path, clock);
    kept.apply(message(0, { kind: Assignments_Kind.COMPLETE, put: [task("a"), task("b")] }));
    expect([...loadView(path).tasks.keys()]).to.deep.equal(["a", "b"]);
    kept.apply(message(1, { put: [endpoint("x")] }));
    kept.apply(message(2, { put: [endpoint("y")] }));
    expect(timers).to.have.length(1);
    expect(loadView(path).endpoints.size).to.equal(0);
    timers[0]!();
    expect(loadView(path).endpoints.size).to.equal(2);
    kept.apply(message(3, { put: [task("c")], remove: ["task/a"] }));
    expect([...loadView(path).tasks.keys()]).to.deep.equal(["b", "c"]);
    kept.apply(message(4, { put: [endpoint("z")] }));
    kept.flush();
    expect(keepView(path, clock).current()).to.deep.equal(kept.current());
  });

  it("a write that fails is tried again, and the node goes on meanwhile", () => {
    const kept = keepView(path, clock);
    kept.apply(message(0, { kind: Assignments_Kind.COMPLETE, put: [task("a")] }));
    kept.apply(message(1, { put: [endpoint("x")] }));
    // Where the new file would be written.
    mkdirSync(`${path}.new`);
    timers[0]!();
    kept.apply(message(2, { put: [endpoint("y")] }));
    rmdirSync(`${path}.new`);
    timers.at(-1)!();
    expect(loadView(path).endpoints.size).to.equal(2);
  });

  it("a node that left has none, also when a write was due", () => {
    const kept = keepView(path, clock);
    kept.apply(message(0, { kind: Assignments_Kind.COMPLETE, put: [endpoint("x")] }));
    kept.forget();
    expect(timers).to.deep.equal([]);
    kept.flush();
    expect(readdirSync(dir)).to.deep.equal([]);
    expect(kept.current()).to.equal(emptyView);
  });

  it("a file that a power loss has cut off is as none", () => {
    writeFileSync(path, Buffer.from([0x22, 0xff]));
    expect(keepView(path, clock).current()).to.equal(emptyView);
  });
});
