import { expect } from "chai";
import { type DoctorRequest, DoctorResponse, Finding } from "#proto/gen/control.ts";
import type { Control } from "#tsctl/cli.ts";
import { FakeCluster, tsctl } from "#tsctl/fake-cluster.ts";

const SINCE = Date.UTC(2026, 10, 21, 11, 59);
const lost = Finding.fromPartial({
  ...{ kind: "fdb", object: "02:42:00:00:00:09 on vxlan0 in overlay backend", problem: "missing" },
  ...{ expected: "192.0.2.2", since: SINCE, action: "will be repaired" },
});
const repaired = { ...lost, action: "repaired; changed again 3 times by others", at: SINCE + 200 };

describe("tsctl net doctor", () => {
  const doctor = async (answers: readonly Partial<DoctorResponse>[], ...argv: string[]) => {
    const requests: DoctorRequest[] = [];
    const control: Partial<Control> = {
      async *doctor(request) {
        requests.push(request as DoctorRequest);
        for (const answer of answers) yield DoctorResponse.fromPartial(answer);
      },
    };
    const ran = await tsctl(new FakeCluster(), ["net", "doctor", ...argv], { control: control as Control });
    return { ...ran, requests };
  };

  it("says of each node what differs, in order, and ends with 1 when something does", async () => {
    const { out, code } = await doctor([
      { hostname: "node-10", findings: [lost, repaired], checked: 40 },
      { hostname: "node-2", checked: 31 },
    ]);
    expect(code).to.equal(1);
    expect(out.split("\n")[0]).to.equal("node-2: no differences (31 objects checked)");
    expect(out).to.match(/^node-10: 1 of 40 objects differ$/m);
    expect(out).to.match(/2026-11-21 11:59:00Z +fdb +02:42.* in overlay backend +missing +192\.0\.2\.2 +- +will be/);
    expect(out).to.match(/repaired lately:\n.*\n.*changed again 3 times by others/);
  });

  it("ends with 0 when what differed was repaired, and with 1 when a node can't be asked", async () => {
    const fine = await doctor([{ hostname: "a", findings: [repaired], checked: 3 }], "--repair", "--node", "a");
    expect(fine.code).to.equal(0);
    expect(fine.requests).to.deep.equal([{ node: "a", repair: true, watch: false }]);
    const lost = await doctor([{ hostname: "a", error: "node a is not connected" }]);
    expect(lost.out).to.equal("a: not examined: node a is not connected\n");
    expect(lost.code).to.equal(1);
  });

  it("shows repairs as they happen, and JSON", async () => {
    const watched = await doctor([{ hostname: "a" }, { hostname: "a", findings: [repaired] }], "--watch");
    expect(watched.out).to.match(/^2026-11-21 11:59:00Z a: fdb .* missing: repaired; changed/);
    expect(watched.code).to.equal(0);
    const json = await doctor([{ hostname: "a", findings: [lost] }], "--format", "json");
    expect(JSON.parse(json.out).findings[0].expected).to.equal("192.0.2.2");
    expect(json.code).to.equal(1);
  });
});
