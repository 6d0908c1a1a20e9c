import { expect } from "chai";
import { realClock, systemRandom } from "#base/node/system.ts";
import { Forwarder } from "#net/dns/forwarder.ts";
import { Rtnl } from "#net/kernel/rtnl.ts";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";
import { emptyView } from "#node-agent/session/view.ts";
import { createNames, type Names } from "#node-agent/wiring/names.ts";
import { Task } from "#proto/gen/types.ts";

const task = Task.fromPartial({ id: "t", attachments: [{ networkId: "n" }] });

describe("names of a container", () => {
  let ns: ScratchNetns;
  let forwarder: Forwarder;
  let names: Names;

  beforeEach(() => {
    ns = scratchNetns();
    const rtnl = Rtnl.open(ns.path);
    rtnl.linkSet("lo", { up: true });
    rtnl.close();
    forwarder = new Forwarder({ upstreams: [], clock: realClock, timeoutMs: 100 });
    names = createNames({ netnsPath: () => ns.path, forwarder, random: systemRandom, view: emptyView });
  });
  afterEach(async () => {
    await names.stopAll();
    forwarder.close();
    ns.remove();
  });

  it("are served once, by whoever asks first", async () => {
    await Promise.all([names.serve(task), names.serve(task)]);
    await names.serve(task);
  });

  it("go with their task, also while they start: the address is free again", async () => {
    const started = names.serve(task);
    await names.stop(task.id);
    await started;
    names.update({ ...emptyView, networks: new Map() });
    await names.serve(task);
    await names.stop(task.id);
    await names.serve(task);
  });

  it("can be asked for again after a failure", async () => {
    const other = scratchNetns();
    let path = `${other.path}-not-there`;
    const late = createNames({ netnsPath: () => path, forwarder, random: systemRandom, view: emptyView });
    const error = await late.serve(task).then(
      () => undefined,
      (e: Error) => e,
    );
    expect(error?.message).to.match(/ENOENT/);
    await late.stop(task.id);
    path = other.path;
    await late.serve(task);
    await late.stopAll();
    other.remove();
  });
});
