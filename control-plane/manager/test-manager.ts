// A manager in this process for tests: the real services behind mutual TLS on loopback, a log of one member in memory.
import { type Client, Server } from "@grpc/grpc-js";
import { newId } from "#base/ids.ts";
import { newJoinToken } from "#base/join-token.ts";
import { silentLogger } from "#base/log.ts";
import {
  type CertificateRole,
  certificateDigest,
  createCa,
  createKeyAndRequest,
  issueCertificate,
} from "#base/node/pki.ts";
import { realClock } from "#base/node/system.ts";
import { seededRandom } from "#base/random.ts";
import { createControlService } from "#control-plane/api/control-service.ts";
import { managersOnly } from "#control-plane/api/require-manager.ts";
import { createDispatcher, type Dispatcher } from "#control-plane/dispatcher/dispatcher.ts";
import { createCaService } from "#control-plane/identity/ca-service.ts";
import { createMemoryLog, type MemoryLog, member } from "#control-plane/log/memory-log.ts";
import { createReplicatedState, type ReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { applyNodeSession, initCluster, registerNode } from "#control-plane/operations/index.ts";
import { createState } from "#control-plane/state/state.ts";
import { CaDefinition } from "#proto/gen/ca.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { DispatcherDefinition } from "#proto/gen/dispatcher.ts";
import { ClusterSpec, NodeDescription, NodeRole } from "#proto/gen/types.ts";
import { openChannel } from "#proto/rpc/client.ts";
import {
  anonymousCredentials,
  clientCredentials,
  type Identity,
  identitySource,
  serverCredentials,
} from "#proto/rpc/security.ts";
import { addService } from "#proto/rpc/server.ts";

const CLUSTER = "c1";

export type TestManager = {
  readonly address: string;
  readonly replicated: ReplicatedState;
  readonly log: MemoryLog;
  readonly dispatcher: Dispatcher;
  readonly tokens: { readonly worker: string; readonly manager: string };
  /** A certificate that this cluster's CA has signed, whether or not the node is registered. */
  identity(nodeId: string, role: CertificateRole, clusterId?: string): Promise<Identity>;
  /** Closed with the manager. Without an identity: as a joiner. */
  dial(identity?: Identity): Client;
  close(): void;
};

/** With the nodes "m1", a manager that has the image localhost/web:1, and "w1", a worker. */
export const startTestManager = async (heartbeatMs = 5_000): Promise<TestManager> => {
  const random = seededRandom(9);
  const ca = await createCa(Date.now());
  const digest = certificateDigest(ca.certificatePem);
  const tokens = { worker: newJoinToken(digest, random), manager: newJoinToken(digest, random) };
  const replicated = createReplicatedState(createState(), realClock, random);
  const log = createMemoryLog(replicated.machine);
  log.become({ members: [member(1, "m1")] });
  replicated.attach(log);
  await replicated.write((tx, ctx) => {
    initCluster(tx, ctx, {
      id: CLUSTER,
      spec: ClusterSpec.fromPartial({ heartbeatMs }),
      caCertificatePem: Buffer.from(ca.certificatePem),
      caKeyPem: Buffer.from(ca.keyPem),
      joinTokenWorker: tokens.worker,
      joinTokenManager: tokens.manager,
    });
    registerNode(tx, ctx, { id: "m1", hostname: "alpha", role: NodeRole.MANAGER, addr: "192.0.2.1" });
    const images = [{ digest: "sha256:1", names: ["localhost/web:1"] }];
    applyNodeSession(tx, ctx, "m1", {
      description: NodeDescription.fromPartial({ hostname: "alpha", images }),
      addr: "",
    });
    registerNode(tx, ctx, { id: "w1", hostname: "beta", role: NodeRole.WORKER, addr: "192.0.2.2" });
  });

  const identity = async (nodeId: string, role: CertificateRole, clusterId = CLUSTER): Promise<Identity> => {
    const { keyPem, csrPem } = await createKeyAndRequest();
    const certificatePem = await issueCertificate(ca, csrPem, { nodeId, clusterId, role }, Date.now(), 3_600_000);
    return { keyPem, certificatePem, caPem: ca.certificatePem };
  };
  const dispatcher = createDispatcher({
    replicated,
    clock: realClock,
    logger: silentLogger,
    newId: () => newId(random),
    managers: () => log.status().members.map(({ nodeId, addr, leader }) => ({ nodeId, addr, leader })),
    leaderAddr: () => "",
  });
  dispatcher.start();
  const server = new Server();
  addService(
    server,
    CaDefinition,
    createCaService(replicated, realClock, () => [address]),
  );
  addService(server, ControlDefinition, createControlService({ replicated, log, dispatcher, random }), {
    guard: managersOnly(replicated.state, CLUSTER),
  });
  addService(server, DispatcherDefinition, dispatcher.handlers);
  const security = serverCredentials(identitySource(await identity("m1", "manager")));
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", security, (error, bound) => (error ? reject(error) : resolve(bound))),
  );
  const address = `127.0.0.1:${port}`;
  const channels: Client[] = [];
  return {
    ...{ address, replicated, log, dispatcher, tokens, identity },
    dial(given) {
      const channel = openChannel(address, given ? clientCredentials(given) : anonymousCredentials(ca.certificatePem));
      channels.push(channel);
      return channel;
    },
    close() {
      dispatcher.stop("");
      for (const channel of channels) channel.close();
      server.forceShutdown();
    },
  };
};
