import { expect } from "chai";
import { silentLogger } from "#base/log.ts";
import { createManualClock } from "#control-plane/controllers/manual-clock.ts";
import { createMemoryLog, member } from "#control-plane/log/memory-log.ts";
import { managerMembership } from "#control-plane/manager/membership.ts";
import { createState } from "#control-plane/state/state.ts";
import { Node, NodeRole } from "#proto/gen/types.ts";

const { MANAGER, WORKER } = NodeRole;

describe("managers in the quorum", () => {
  const setup = (...ids: string[]) => {
    const state = createState();
    const log = createMemoryLog({ apply: () => {}, restore: async () => {}, snapshot: () => [] });
    log.become({ members: ids.map((id, at) => member(at + 1, id)) });
    const clock = createManualClock();
    let announced = 0;
    const change = (id: string, role: NodeRole | undefined): void => {
      const tx = state.begin();
      if (role === undefined) tx.delete("node", id);
      else
        tx.put("node", {
          ...Node.fromPartial({ id }),
          ...tx.get("node", id),
          spec: Node.fromPartial({ spec: { role } }).spec,
        });
      state.apply(state.index + 1, { id: `c${state.index}`, time: 1, changes: tx.changes() });
    };
    for (const id of ids) change(id, MANAGER);
    const announce = { announceManagers: () => void announced++ };
    const duty = managerMembership({ log, state, dispatcher: announce, clock, logger: silentLogger });
    return { log, clock, change, duty, announced: () => announced };
  };

  it("a demoted and a removed node leave, also at the same moment; agents are told", async () => {
    const { log, clock, change, duty, announced } = setup("a", "b", "c", "d");
    void duty.start(undefined);
    await clock.pass(0);
    expect(log.changes).to.deep.equal([]);
    const before = announced();
    change("b", WORKER);
    change("d", WORKER);
    change("c", undefined);
    await clock.pass(0);
    expect(log.changes.toSorted()).to.deep.equal(["remove 2", "remove 3", "remove 4"]);
    expect(announced() - before).to.equal(3);
    log.become({ applied: 9 });
    expect(announced() - before).to.equal(3);
  });

  it("a leader that is demoted hands over first", async () => {
    const { log, clock, change, duty } = setup("a", "b");
    void duty.start(undefined);
    change("a", WORKER);
    await clock.pass(0);
    expect(log.changes).to.deep.equal(["transfer"]);
  });

  it("what could not be removed is removed later, unless another leads then", async () => {
    const { log, clock, change, duty } = setup("a", "b", "c");
    void duty.start(undefined);
    log.refuse(1);
    change("b", WORKER);
    await clock.pass(100);
    expect(log.changes).to.deep.equal([]);
    await clock.pass(5_000);
    expect(log.changes).to.deep.equal(["remove 2"]);
    log.refuse(1);
    change("c", WORKER);
    await clock.pass(100);
    duty.stop("");
    await clock.pass(5_000);
    expect(log.changes).to.deep.equal(["remove 2"]);
  });
});
