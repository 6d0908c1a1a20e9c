import { Server } from "@grpc/grpc-js";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import {
  type CertificateRole,
  certificateDigest,
  createCa,
  createKeyAndRequest,
  issueCertificate,
} from "#base/node/pki.ts";
import { CaDefinition } from "#proto/gen/ca.ts";
import { createClient, openChannel } from "#proto/rpc/client.ts";
import {
  anonymousCredentials,
  clientCredentials,
  fetchCa,
  identitySource,
  serverCredentials,
} from "#proto/rpc/security.ts";
import { addService, type Handlers, type Peer, type ServiceOptions } from "#proto/rpc/server.ts";

describe("mutual TLS", () => {
  let ca: Awaited<ReturnType<typeof createCa>>;
  const servers: Server[] = [];
  const channels: ReturnType<typeof openChannel>[] = [];
  let seen: Peer | undefined;

  const identity = async (role: CertificateRole, authority = ca) => {
    const { keyPem, csrPem } = await createKeyAndRequest();
    const subject = { nodeId: `a-${role}`, clusterId: "c", role };
    return {
      keyPem,
      caPem: authority.certificatePem,
      certificatePem: await issueCertificate(authority, csrPem, subject, Date.now(), 3_600_000),
    };
  };
  const serve = async (role: CertificateRole, options: ServiceOptions = {}): Promise<string> => {
    const server = new Server();
    servers.push(server);
    const handlers: Handlers<CaDefinition> = {
      getRootCa: async (_request, { peer }) => {
        seen = peer;
        return { certificatePem: Buffer.from(ca.certificatePem) };
      },
      issueCertificate: async () => {
        throw new TswarmError("internal", "not asked for here");
      },
    };
    addService(server, CaDefinition, handlers, options);
    const security = serverCredentials(identitySource(await identity(role)));
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", security, (error, bound) => (error ? reject(error) : resolve(bound))),
    );
    return `127.0.0.1:${port}`;
  };
  const ask = async (address: string, security: ReturnType<typeof anonymousCredentials>) => {
    const channel = openChannel(address, security);
    seen = undefined;
    try {
      await createClient(CaDefinition, channel).getRootCa({}, { deadlineMs: 3_000 });
      return seen;
    } finally {
      channel.close();
    }
  };

  before(async () => {
    ca = await createCa(Date.now());
  });
  after(() => {
    for (const channel of channels) channel.close();
    for (const server of servers) server.forceShutdown();
  });

  it("tells the server who calls", async () => {
    const address = await serve("manager");
    expect(await ask(address, clientCredentials(await identity("worker")))).to.deep.equal({
      nodeId: "a-worker",
      clusterId: "c",
      role: "worker",
    });
    expect(await ask(address, anonymousCredentials(ca.certificatePem))).to.equal(undefined);
  });

  it("a call that a manager passes on is still the caller's; a worker can't call in another's name", async () => {
    const leader = await serve("manager");
    const through = async (role: CertificateRole, options: ServiceOptions = {}): Promise<string> => {
      const onward = openChannel(leader, clientCredentials(await identity(role)));
      channels.push(onward);
      return serve("manager", { ...options, elsewhere: () => onward });
    };
    const worker = { nodeId: "a-worker", clusterId: "c", role: "worker" };
    const manager = { nodeId: "a-manager", clusterId: "c", role: "manager" } as const;
    const follower = await through("manager");
    expect(await ask(follower, clientCredentials(await identity("worker")))).to.deep.equal(worker);
    expect(await ask(follower, anonymousCredentials(ca.certificatePem))).to.equal(undefined);
    const local = await through("manager", { local: manager });
    expect(await ask(local, anonymousCredentials(ca.certificatePem))).to.deep.equal(manager);
    const forger = await through("worker");
    expect(await ask(forger, clientCredentials(await identity("manager")))).to.deep.equal(worker);
  });

  it("a replaced identity is the one of new connections, on both sides", async () => {
    const old = await identity("worker");
    const own = identitySource(old);
    const source = identitySource(await identity("manager"));
    const server = new Server();
    servers.push(server);
    addService(server, CaDefinition, {
      getRootCa: async (_request, { peer }) => {
        seen = peer;
        return { certificatePem: Buffer.from(ca.certificatePem) };
      },
      issueCertificate: async () => {
        throw new TswarmError("internal", "not asked for here");
      },
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", serverCredentials(source), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    const address = `127.0.0.1:${port}`;
    const security = clientCredentials(own);
    expect(await ask(address, security)).to.have.property("role", "worker");
    own.replace(await identity("manager"));
    expect(await ask(address, security)).to.have.property("role", "manager");
    // A worker's certificate at a server is refused: it has taken the new one.
    source.replace(await identity("worker"));
    const error = await ask(address, clientCredentials(old)).catch((e: unknown) => e);
    expect(error).to.have.property("code", "unavailable");
  });

  it("a certificate of another CA is refused", async () => {
    const address = await serve("manager");
    const other = await identity("manager", await createCa(Date.now()));
    const error = await ask(address, clientCredentials({ ...other, caPem: ca.certificatePem })).catch(
      (e: unknown) => e,
    );
    expect(error).to.have.property("code", "unavailable");
    expect(seen).to.equal(undefined);
  });

  it("a worker can't pose as a manager", async () => {
    const error = await ask(await serve("worker"), clientCredentials(await identity("worker"))).catch(
      (e: unknown) => e,
    );
    expect(error).to.have.property("code", "unavailable");
  });

  it("a joiner believes the CA that its token names, and no other", async () => {
    const address = await serve("manager");
    expect(await fetchCa(address, certificateDigest(ca.certificatePem))).to.equal(ca.certificatePem);
    expect(await fetchCa(address, "0".repeat(64)).catch((e: unknown) => e)).to.have.property("code", "unauthenticated");
    expect(await fetchCa("127.0.0.1:1", "0".repeat(64)).catch((e: unknown) => e)).to.have.property(
      "code",
      "unavailable",
    );
  });
});
