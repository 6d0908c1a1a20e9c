// Random histories of a network that everybody wants an address of: tasks, virtual addresses, nodes, pinned slots.
import { expect } from "chai";
import fc from "fast-check";
import { ADDRESS_REST_MS } from "#control-plane/state/apply.ts";
import { hasEnded, withoutLength } from "#control-plane/state/keys.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, Tx } from "#control-plane/state/types.ts";
import { EndpointMode, Network, Node, NodeState, Service, Task, TaskState } from "#proto/gen/types.ts";
import { allocate } from "./allocate.ts";

const PINS = ["10.0.0.6", "10.0.1.5"];
const subnet = (text: string, gateway: string) => ({ subnet: text, range: "", gateway, reserved: {} });

class History {
  readonly state: State = createState();
  now = 1;
  #ids = 0;
  /** address → when it was released, and by whom */
  readonly released = new Map<string, { readonly at: number; readonly by: string }>();

  newId = (): string => `id${this.#ids++}`;

  commit(write: (tx: Tx) => void): void {
    const before = this.holders();
    const tx = this.state.begin();
    write(tx);
    const command = { id: this.newId(), time: this.now, changes: tx.changes() };
    expect(this.state.apply(this.state.index + 1, command)).to.deep.equal({ ok: true });
    const after = this.holders();
    for (const [address, by] of before) if (!after.has(address)) this.released.set(address, { at: this.now, by });
    for (const [address, by] of after) this.#given(address, by, before.get(address));
  }

  pass(): void {
    this.commit((tx) => void allocate(tx, { now: this.now, newId: this.newId }));
  }

  /** address → who has it: the sum of all live holders, each address once. */
  holders(): Map<string, string> {
    const held = new Map<string, string>();
    const hold = (address: string, by: string): void => {
      if (address === "") return;
      expect(held.get(address), `${address} is used twice`).to.equal(undefined);
      held.set(address, by);
    };
    for (const task of this.state.all("task"))
      for (const a of hasEnded(task) ? [] : task.attachments)
        for (const address of [a.ipv4, a.ipv6])
          hold(withoutLength(address), `slot ${task.serviceId} ${task.slot} ${task.id}`);
    for (const service of this.state.all("service"))
      for (const vip of service.vips) for (const address of [vip.ipv4, vip.ipv6]) hold(address, service.id);
    for (const node of this.state.get("network", "net")?.nodes ?? [])
      for (const address of [node.ipv4, node.ipv6]) hold(address, node.nodeId);
    return held;
  }

  /** Nobody gets an address before its rest is over, but a pinned slot its own. */
  #given(address: string, by: string, before: string | undefined): void {
    const last = this.released.get(address);
    if (before !== undefined || last === undefined) return;
    const sameSlot = PINS.includes(address) && by.startsWith("slot pins ") && last.by.startsWith("slot pins ");
    if (!sameSlot) expect(this.now - last.at, `rest of ${address}`).to.be.at.least(ADDRESS_REST_MS);
    this.released.delete(address);
  }

  check(): void {
    const live = this.holders();
    const network = this.state.get("network", "net")!;
    const gateways = network.subnets.map((s) => s.gateway);
    const resting = [...this.state.all("lease")].map((l) => l.address);
    const held = [...this.state.heldAddresses("net")].sort();
    expect(held, "held are live holders, gateways and what rests").to.deep.equal(
      [...live.keys(), ...gateways, ...resting].sort(),
    );
    for (const [address, by] of live)
      if (PINS.includes(address)) expect(by, `the pinned ${address}`).to.match(/^slot pins /);
  }
}

const kinds = [
  "create",
  "pinned",
  "end",
  "end",
  "remove",
  "pass",
  "pass",
  "wait",
  "service",
  "unserve",
  "join",
  "leave",
  "grow",
] as const;
const steps = fc.array(fc.record({ kind: fc.constantFrom(...kinds), n: fc.nat(50) }), { maxLength: 50 });

const start = (): History => {
  const history = new History();
  history.commit((tx) => {
    tx.put(
      "network",
      Network.fromPartial({
        id: "net",
        vni: 4096,
        spec: { annotations: { name: "net" }, driver: "overlay", ipv4: true, ipv6: true, ingress: true },
        subnets: [
          subnet("10.0.0.0/29", "10.0.0.1"),
          subnet("10.0.1.0/29", "10.0.1.1"),
          subnet("fd00::/124", "fd00::1"),
        ],
      }),
    );
    const networks = [{ target: "net", ipv4: PINS }];
    tx.put(
      "service",
      Service.fromPartial({
        id: "pins",
        spec: { annotations: { name: "pins" }, endpointMode: EndpointMode.DNSRR, task: { networks } },
      }),
    );
  });
  return history;
};

const pick = <T>(of: readonly T[], n: number): T | undefined => of[n % Math.max(of.length, 1)];
const task = (id: string, serviceId: string, slot: number, ipv4: string[] = []): Task =>
  Task.fromPartial({
    id,
    serviceId,
    slot,
    desiredState: TaskState.TASK_RUNNING,
    spec: { networks: [{ target: "net", ipv4 }] },
  });

const step = (history: History, kind: (typeof kinds)[number], n: number): void => {
  const { state } = history;
  history.now += kind === "wait" ? ADDRESS_REST_MS : 50;
  const tasks = [...state.all("task")];
  const chosen = pick(tasks, n);
  if (kind === "create")
    history.commit((tx) => [1, 2, 3].map((slot) => tx.put("task", task(history.newId(), "", slot))));
  else if (kind === "pinned") history.commit((tx) => tx.put("task", task(history.newId(), "pins", 1 + (n % 2), PINS)));
  else if (kind === "pass" || kind === "wait") history.pass();
  else if (kind === "end" && chosen !== undefined && !hasEnded(chosen))
    history.commit((tx) => tx.put("task", Task.fromPartial({ ...chosen, status: { state: TaskState.TASK_FAILED } })));
  else if (kind === "remove" && chosen !== undefined) history.commit((tx) => tx.delete("task", chosen.id));
  else if (kind === "service")
    history.commit((tx) => {
      const id = history.newId();
      const spec = {
        annotations: { name: id },
        endpointMode: EndpointMode.VIP,
        task: { networks: [{ target: "net" }] },
      };
      tx.put("service", Service.fromPartial({ id, spec }));
    });
  else if (kind === "unserve") {
    const service = pick(
      [...state.all("service")].filter((s) => s.id !== "pins"),
      n,
    );
    if (service !== undefined) history.commit((tx) => tx.delete("service", service.id));
  } else if (kind === "join")
    history.commit((tx) =>
      tx.put("node", Node.fromPartial({ id: history.newId(), status: { state: NodeState.NODE_READY } })),
    );
  else if (kind === "leave") {
    const node = pick([...state.all("node")], n);
    if (node !== undefined) history.commit((tx) => tx.delete("node", node.id));
  } else if (kind === "grow" && state.get("network", "net")!.subnets.length < 4)
    history.commit((tx) => {
      const network = tx.get("network", "net")!;
      tx.put("network", { ...network, subnets: [...network.subnets, subnet("10.0.2.0/29", "10.0.2.1")] });
    });
};

describe("histories of a network", () => {
  it("use no address twice, leak none, respect rests and pins; at the end all is free", () => {
    fc.assert(
      fc.property(steps, (history) => {
        const run = start();
        for (const { kind, n } of history) {
          step(run, kind, n);
          run.check();
        }
        for (const table of ["task", "node", "service"] as const)
          for (const object of [...run.state.all(table)]) run.commit((tx) => tx.delete(table, object.id));
        run.pass();
        run.now += ADDRESS_REST_MS;
        run.pass();
        const gateways = run.state.get("network", "net")!.subnets.map((s) => s.gateway);
        expect([...run.state.heldAddresses("net")].sort()).to.deep.equal([...gateways].sort());
        expect(run.state.count("lease")).to.equal(0);
      }),
      { numRuns: 200 },
    );
  });

  it("leave no task waiting while there is an address of each family", () => {
    fc.assert(
      fc.property(steps, (history) => {
        const run = start();
        for (const { kind, n } of history) step(run, kind, n);
        run.pass();
        run.now += ADDRESS_REST_MS;
        run.pass();
        const { state } = run;
        const network = state.get("network", "net")!;
        const held = state.heldAddresses("net");
        const size = (family: RegExp) => [...held].filter((a) => family.test(a)).length;
        const room = 6 + 6 + (network.subnets.length > 3 ? 6 : 0) - PINS.filter((a) => !held.has(a)).length;
        const free = Math.min(room - size(/\./), 15 - size(/:/));
        const waiting = [...state.all("task")].filter((t) => t.serviceId === "" && (t.status?.state ?? 0) === 0);
        if (free > 0) expect(waiting.map((t) => t.status?.error)).to.deep.equal([]);
      }),
      { numRuns: 100 },
    );
  });
});
