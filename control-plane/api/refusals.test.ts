import type { Client } from "@grpc/grpc-js";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { newJoinToken } from "#base/join-token.ts";
import { createKeyAndRequest, readCertificate } from "#base/node/pki.ts";
import { seededRandom } from "#base/random.ts";
import { parseUnlockKey } from "#base/unlock-key.ts";
import { startTestManager, type TestManager } from "#control-plane/manager/test-manager.ts";
import { CaDefinition } from "#proto/gen/ca.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { DispatcherDefinition } from "#proto/gen/dispatcher.ts";
import { NodeRole, NodeSpec, ServiceSpec } from "#proto/gen/types.ts";
import { createClient, type RpcClient } from "#proto/rpc/client.ts";

type Control = RpcClient<ControlDefinition>;
const spec = (more: Parameters<typeof ServiceSpec.fromPartial>[0] = {}) =>
  ServiceSpec.fromPartial({
    annotations: { name: "web" },
    replicas: 1,
    task: { container: { image: "localhost/web:1" } },
    ...more,
  });

describe("what the API refuses, with field, reason and remedy", () => {
  let manager: TestManager;
  let control: Control;
  let csr: { csrPem: Buffer; nodeId: string; hostname: string; addr: string };
  before(async () => {
    manager = await startTestManager();
    control = createClient(ControlDefinition, manager.dial(await manager.identity("m1", "manager")));
    csr = {
      csrPem: Buffer.from((await createKeyAndRequest()).csrPem),
      nodeId: "m1",
      hostname: "gamma",
      addr: "192.0.2.3",
    };
    await control.createService({ spec: spec() });
  });
  after(() => manager.close());

  const expectRefused = async (work: Promise<unknown>, code: string, field: string, reason: RegExp): Promise<void> => {
    const error = await work.then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(error).to.be.instanceOf(TswarmError);
    const { code: found, issues } = error as TswarmError;
    expect(found).to.equal(code);
    expect(issues[0]).to.have.property("field", field);
    expect(issues[0]!.reason).to.match(reason);
    expect(issues[0]!.remedy).to.not.equal("");
  };
  const as = async (...who: Parameters<TestManager["identity"]>): Promise<Client> =>
    manager.dial(await manager.identity(...who));
  const swapLast = (token: string) => token.replace(/.$/, (c) => (c === "0" ? "1" : "0"));

  const table: [string, () => Promise<unknown>, string, string, RegExp][] = [
    [
      "control without a certificate",
      async () => createClient(ControlDefinition, manager.dial()).listNodes({ filters: [] }),
      "forbidden",
      "node",
      /certificate of this cluster/,
    ],
    [
      "control as a worker",
      async () => createClient(ControlDefinition, await as("w1", "worker")).listNodes({ filters: [] }),
      "forbidden",
      "node",
      /w1 is a worker, and listNodes is for managers/,
    ],
    [
      "control as another cluster's manager",
      async () => createClient(ControlDefinition, await as("m1", "manager", "c2")).listNodes({ filters: [] }),
      "forbidden",
      "node",
      /certificate of this cluster/,
    ],
    [
      "control with the certificate of a former manager",
      async () =>
        createClient(ControlDefinition, await as("w1", "manager")).getJoinTokens({
          rotateWorker: false,
          rotateManager: false,
        }),
      "forbidden",
      "node",
      /no manager of this cluster any more/,
    ],
    [
      "control as a manager that was removed",
      async () => createClient(ControlDefinition, await as("gone", "manager")).listNodes({ filters: [] }),
      "forbidden",
      "node",
      /no manager of this cluster any more/,
    ],
    [
      "a session of an unknown node",
      async () => {
        const channel = await as("gone", "worker");
        for await (const _ of createClient(DispatcherDefinition, channel).session((async function* () {})())) break;
      },
      "forbidden",
      "node",
      /gone is not a node/,
    ],
    [
      "a certificate for a removed node",
      async () => createClient(CaDefinition, await as("gone", "worker")).issueCertificate({ ...csr, token: "" }),
      "forbidden",
      "node",
      /gone is not a node/,
    ],
    [
      "a join without a token",
      () => createClient(CaDefinition, manager.dial()).issueCertificate({ ...csr, token: "" }),
      "invalid",
      "token",
      /not a join token/,
    ],
    [
      "a join with a wrong secret",
      () =>
        createClient(CaDefinition, manager.dial()).issueCertificate({ ...csr, token: swapLast(manager.tokens.worker) }),
      "unauthenticated",
      "token",
      /rotated or mistyped/,
    ],
    [
      "a join with another cluster's token",
      () =>
        createClient(CaDefinition, manager.dial()).issueCertificate({
          ...csr,
          token: newJoinToken("0".repeat(64), seededRandom(1)),
        }),
      "unauthenticated",
      "token",
      /another cluster/,
    ],
    [
      "an update of a stale version",
      () => control.updateService({ id: "web", version: 1, spec: spec({ replicas: 2 }), rollback: false }),
      "stale_version",
      "version",
      /made from 1/,
    ],
    [
      "a demotion of the last manager",
      async () => {
        const { node } = await control.getNode({ ref: "m1" });
        return control.updateNode({
          id: "m1",
          version: node!.node!.meta!.version,
          spec: NodeSpec.fromPartial({ ...node!.node!.spec, role: NodeRole.WORKER }),
        });
      },
      "conflict",
      "role",
      /last manager/,
    ],
    [
      "a second service of a name",
      () => control.createService({ spec: spec() }),
      "name_conflict",
      "annotations.name",
      /./,
    ],
    ["a service that is not there", () => control.getService({ ref: "nope" }), "not_found", "service", /nope/],
  ];
  for (const [what, work, code, field, reason] of table) it(what, () => expectRefused(work(), code, field, reason));

  it("a token that was rotated is worth nothing; the other one is", async () => {
    const old = manager.tokens.worker;
    const { worker } = await control.getJoinTokens({ rotateWorker: true, rotateManager: false });
    const ca = createClient(CaDefinition, manager.dial());
    await expectRefused(ca.issueCertificate({ ...csr, token: old }), "unauthenticated", "token", /rotated/);
    expect((await ca.issueCertificate({ ...csr, token: worker })).role).to.equal(NodeRole.WORKER);
    expect((await ca.issueCertificate({ ...csr, token: manager.tokens.manager })).role).to.equal(NodeRole.MANAGER);
  });

  it("neither keys nor tokens leave in views and events", async () => {
    const { view } = await control.getCluster({});
    expect(view!.cluster!.caKeyPem).to.have.length(0);
    expect(view!.cluster!.joinTokenManager + view!.cluster!.joinTokenWorker).to.equal("");
    const controller = new AbortController();
    const events = control.watch({ selectors: [] }, { signal: controller.signal })[Symbol.asyncIterator]();
    await events.next();
    await control.getJoinTokens({ rotateWorker: true, rotateManager: false });
    const text = JSON.stringify((await events.next()).value);
    controller.abort();
    expect(text).to.contain('"cluster"');
    expect(text).to.not.contain("TSWTKN");
    expect(text).to.not.contain("PRIVATE");
  });

  it("the unlock key is shown when autolock goes on and to who asks for it, and in nothing else", async () => {
    const controller = new AbortController();
    const events = control.watch({ selectors: [] }, { signal: controller.signal })[Symbol.asyncIterator]();
    await events.next();
    await expectRefused(control.getUnlockKey({ rotate: true }), "conflict", "cluster", /autolock is off/);
    expect((await control.getUnlockKey({ rotate: false })).unlockKey).to.equal("");
    const { cluster } = (await control.getCluster({})).view!;
    const request = { version: cluster!.meta!.version, spec: { ...cluster!.spec!, autolock: true } };
    const on = await control.updateCluster(request);
    expect(parseUnlockKey(on.unlockKey)).to.equal(on.unlockKey);
    expect((await control.getUnlockKey({ rotate: false })).unlockKey).to.equal(on.unlockKey);
    const again = await control.updateCluster({ version: on.cluster!.meta!.version, spec: on.cluster!.spec });
    expect(again.unlockKey).to.equal("");
    expect((await control.getUnlockKey({ rotate: true })).unlockKey)
      .to.match(/^TSWKEY-1-/)
      .and.not.equal(on.unlockKey);
    const { view } = await control.getCluster({});
    const text = JSON.stringify([(await events.next()).value, view, again, on.cluster]);
    controller.abort();
    expect(text).to.contain('"autolock":true').and.not.contain("TSWKEY");
    const worker = createClient(ControlDefinition, await as("w1", "worker"));
    await expectRefused(worker.getUnlockKey({ rotate: false }), "forbidden", "node", /./);
  });

  it("a renewal keeps the node and gets the role that the cluster has for it, whatever the request claims", async () => {
    const renewed = await createClient(CaDefinition, await as("w1", "manager")).issueCertificate({ ...csr, token: "" });
    expect(readCertificate(renewed.certificatePem.toString())).to.include({
      nodeId: "w1",
      role: "worker",
      clusterId: "c1",
    });
  });
});
