import { expect } from "chai";
import { applyAssignments, emptyView } from "#node-agent/session/view.ts";
import { Assignments, Assignments_Kind } from "#proto/gen/dispatcher.ts";

const { COMPLETE, INCREMENTAL } = Assignments_Kind;
const task = (id: string) => ({ key: `task/${id}`, item: { $case: "task", value: { id } } }) as const;
const service = (name: string) =>
  ({ key: `service/n/${name}`, item: { $case: "service", value: { name, networkId: "n" } } }) as const;
const network = { key: "network/n", item: { $case: "network", value: { id: "n" } } } as const;
const endpoint = { key: "endpoint/n/x", item: { $case: "endpoint", value: { taskId: "x" } } } as const;
const message = (fields: Parameters<typeof Assignments.fromPartial>[0]) => Assignments.fromPartial(fields);

const first = applyAssignments(
  emptyView,
  message({ kind: COMPLETE, sequence: 1, put: [task("a"), task("b"), network, endpoint, service("web")] }),
);

describe("the view after a message", () => {
  it("has each item in its part, by id or by key", () => {
    expect([...first.tasks.keys()]).to.deep.equal(["a", "b"]);
    expect([...first.networks.keys()]).to.deep.equal(["n"]);
    expect([...first.endpoints.keys()]).to.deep.equal(["endpoint/n/x"]);
    expect([...first.services.keys()]).to.deep.equal(["service/n/web"]);
    expect(first.items.size).to.equal(5);
  });

  it("changes what an incremental message names and leaves the objects of the other parts", () => {
    const put = [task("c")];
    const next = applyAssignments(
      first,
      message({ kind: INCREMENTAL, appliesTo: 1, sequence: 2, put, remove: ["task/a"] }),
    );
    expect([...next.tasks.keys()]).to.deep.equal(["b", "c"]);
    expect([...next.items.keys()]).to.have.members(["task/b", "task/c", "network/n", "endpoint/n/x", "service/n/web"]);
    expect(next.services).to.equal(first.services);
    expect(next.networks).to.equal(first.networks);
    expect([...first.tasks.keys()]).to.deep.equal(["a", "b"]);
  });

  it("forgets everything that a complete message does not name", () => {
    const next = applyAssignments(first, message({ kind: COMPLETE, sequence: 1, put: [service("api")] }));
    expect([...next.items.keys()]).to.deep.equal(["service/n/api"]);
    expect([...next.services.keys()]).to.deep.equal(["service/n/api"]);
    expect(next.tasks.size + next.networks.size + next.endpoints.size).to.equal(0);
  });

  it("refuses a message after a gap", () => {
    expect(() => applyAssignments(first, message({ kind: INCREMENTAL, appliesTo: 7, sequence: 8 }))).to.throw(
      /apply to 7/,
    );
  });
});
