import { expect } from "chai";
import type { ApplyError } from "#net/exec/reconciler.ts";
import { hostEndName } from "#net/model/ifname.ts";
import { failureFor } from "#node-agent/wiring/failures.ts";
import { Network, Task } from "#proto/gen/types.ts";

const network = (id: string, driver: string, vni = 0, options: Record<string, string> = {}): [string, Network] => [
  id,
  Network.fromPartial({ id, vni, spec: { annotations: { name: id }, driver, options } }),
];
const NETWORKS = new Map([
  network("shop", "bridge", 0, { "com.docker.network.bridge.name": "shop0" }),
  network("app", "overlay", 4097),
]);
const task = (...networkIds: string[]): Task =>
  Task.fromPartial({ id: "t1", attachments: networkIds.map((networkId) => ({ networkId })) });
const error = (namespace: string, link: string): ApplyError => ({
  namespace,
  link,
  object: "",
  code: "conflict",
  reason: "",
});

describe("errors of wiring", () => {
  const cases: readonly [string, Task, ApplyError, boolean][] = [
    ["its own namespace", task("app"), error("c-t1", "eth0"), true],
    ["another container's", task("app"), error("c-t2", "eth0"), false],
    ["its overlay's", task("app"), error("o-4097", "br0"), true],
    ["another overlay's", task("shop"), error("o-4097", "br0"), false],
    ["its bridge on the host", task("shop"), error("", "shop0"), true],
    ["another bridge on the host", task("app"), error("", "shop0"), false],
    ["the way out of its overlay", task("app"), error("", "tse4097"), true],
    ["its end on the host", task("shop"), error("", hostEndName("c-t1", "eth0")), true],
    ["another container's end on the host", task("shop"), error("", hostEndName("c-t2", "eth0")), false],
    ["the rules of the host, which all need", task("app"), error("", ""), true],
  ];
  for (const [what, whose, failed, concerns] of cases)
    it(`${concerns ? "concern" : "do not concern"} a task: ${what}`, () => {
      expect(failureFor(whose, NETWORKS, [failed])).to.equal(concerns ? failed : undefined);
    });
});
