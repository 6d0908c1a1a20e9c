import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { Task, TaskState } from "#proto/gen/types.ts";
import { renderError } from "#tsctl/output/errors.ts";
import { ago, humanDuration, humanMemory, humanSize, shortDuration } from "#tsctl/output/human.ts";
import { plain } from "#tsctl/output/plain.ts";
import { layoutTable } from "#tsctl/output/table.ts";
import { parseTemplate, renderHeader, renderTemplate } from "#tsctl/output/template.ts";

describe("templates", () => {
  const value = { ID: "x", spec: { name: "web", labels: { "a-b": 1 } }, list: [{ ip: "10.0.0.1" }], empty: undefined };
  const cases: [string, string][] = [
    ["{{.ID}}", "x"],
    ["id={{ .ID }}\\t{{.Spec.Name}}\\n", "id=x\tweb\n"],
    ["{{json .Spec}}", '{"name":"web","labels":{"a-b":1}}'],
    ["{{json .ID}}", '"x"'],
    ["{{.spec.labels.a-b}}", "1"],
    ["{{.list.0.ip}}", "10.0.0.1"],
    ["{{.empty}}|{{json .empty}}", "|null"],
    ["{{json .}}", JSON.stringify(value)],
    ["plain }} text", "plain }} text"],
  ];
  for (const [source, expected] of cases)
    it(source, () => expect(renderTemplate(parseTemplate(source), value)).to.equal(expected));

  it("refuses what it does not know", () => {
    expect(() => parseTemplate("{{range .X}}")).to.throw("{{range .X}} is not supported");
    expect(() => parseTemplate("{{.ID")).to.throw("not supported");
    expect(() => renderTemplate(parseTemplate("{{.Nope}}"), value)).to.throw("no field .Nope. Known: .ID .spec");
    expect(() => renderTemplate(parseTemplate("{{.ID.x}}"), value)).to.throw("no field .ID.x");
  });

  it("makes headers of fields", () =>
    expect(renderHeader(parseTemplate("{{.ID}}\t{{.Other}}"), { ID: "NETWORK ID" })).to.equal("NETWORK ID\tOTHER"));
});

describe("table", () => {
  it("aligns columns and trims lines", () =>
    expect(
      layoutTable([
        ["ID", "NAME", "ERROR"],
        ["k3j9x2m4p7q1", "a-long-name-it-is", ""],
        ["1", "b", '"boom"'],
      ]),
    ).to.equal(
      [
        "ID             NAME                ERROR",
        "k3j9x2m4p7q1   a-long-name-it-is",
        '1              b                   "boom"',
        "",
      ].join("\n"),
    ));
});

describe("times and sizes", () => {
  const durations: [number, string][] = [
    [500, "Less than a second"],
    [1_500, "1 second"],
    [59_000, "59 seconds"],
    [61_000, "About a minute"],
    [125_000, "2 minutes"],
    [3_700_000, "About an hour"],
    [7_300_000, "2 hours"],
    [3 * 86_400_000, "3 days"],
    [21 * 86_400_000, "3 weeks"],
    [90 * 86_400_000, "3 months"],
    [3 * 365 * 86_400_000, "3 years"],
  ];
  for (const [ms, expected] of durations) it(`${ms} ms`, () => expect(humanDuration(ms)).to.equal(expected));
  it("of hosts whose clock is ahead", () => expect(ago(2_000, 1_000)).to.equal("less than a second ago"));
  it("sizes", () => {
    expect([0, 999, 1_240_000, 2_500_000_000].map(humanSize)).to.deep.equal(["0B", "999B", "1.24MB", "2.5GB"]);
    expect([0, 64 << 20, 1.5 * 2 ** 30].map(humanMemory)).to.deep.equal(["0B", "64MiB", "1.5GiB"]);
    expect([0, 250, 5_000, 90_000, 3_601_000].map(shortDuration)).to.deep.equal(["0s", "250ms", "5s", "1m30s", "1h1s"]);
  });
});

describe("objects as JSON", () => {
  it("has names of enums and ISO times", () =>
    expect(
      plain(
        Task.fromPartial({
          id: "t",
          meta: { version: 3, createdAt: Date.UTC(2026, 0, 2) },
          desiredState: TaskState.TASK_SHUTDOWN,
          status: { state: TaskState.TASK_FAILED, error: "exit 1" },
          spec: { restart: { condition: 2 }, forceUpdate: 0 },
        }),
      ),
    ).to.deep.include({
      id: "t",
      meta: { version: 3, createdAt: "2026-01-02T00:00:00.000Z", updatedAt: "" },
      desiredState: "shutdown",
      status: { state: "failed", at: "", message: "", error: "exit 1", exitCode: 0, pid: 0, containerId: "" },
    }));
});

describe("errors", () => {
  const issues = [{ field: "subnet", reason: "overlaps with backend", remedy: "Choose another" }];
  it("tell each issue once", () => {
    expect(renderError(new TswarmError("conflict", "refused", { issues }))).to.equal(
      "tsctl: refused\n  subnet: overlaps with backend. Choose another.\n",
    );
    expect(
      renderError(new TswarmError("conflict", "subnet: overlaps with backend. Choose another.", { issues })),
    ).to.equal("tsctl: subnet: overlaps with backend. Choose another.\n");
  });
});
