import * as grpc from "@grpc/grpc-js";
import { expect } from "chai";
import { REMOVED, raftServiceDefinition, raftServiceHandlers } from "#control-plane/raft-host/raft-service.ts";
import type { TransportHost } from "#control-plane/raft-host/transport.ts";

describe("raft service: who is not listened to", () => {
  let server: grpc.Server;
  let client: grpc.Client;
  let received = 0;
  beforeEach(async () => {
    received = 0;
    // A member that was recovered: it was 3, the others were 1 and 2.
    const host: Partial<TransportHost> = {
      ...{ raftId: 1_003, clusterId: "c1" },
      isRemoved: (id) => [1, 2, 3].includes(id),
      receive: () => void received++,
      lost: () => {},
    };
    server = new grpc.Server();
    server.addService(
      raftServiceDefinition,
      raftServiceHandlers(host as TransportHost, () => {}),
    );
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (e, p) => (e ? reject(e) : resolve(p))),
    );
    client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  });
  afterEach(() => {
    client.close();
    server.forceShutdown();
  });

  const send = (from: number, to: number, clusterId = "c1"): Promise<grpc.ServiceError> =>
    new Promise((resolve) => {
      const { path, requestSerialize, responseDeserialize } = raftServiceDefinition.messages;
      const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
      stream.on("data", () => {});
      stream.on("error", resolve);
      stream.write({ clusterId, from, to, messages: [] });
    });
  const toldRemoved = (error: grpc.ServiceError): boolean => error.metadata.get(REMOVED).length > 0;

  it("a former member is told that it was removed, also when it means the id that this one had", async () => {
    expect(toldRemoved(await send(1, 1_003))).to.equal(true);
    expect(toldRemoved(await send(1, 3))).to.equal(true);
    expect(received).to.equal(0);
  });

  it("one that this member never knew, and another cluster's, are refused without a word about removal", async () => {
    for (const error of [await send(4, 3), await send(1, 3, "c2")]) {
      expect(error.code).to.equal(grpc.status.PERMISSION_DENIED);
      expect(toldRemoved(error)).to.equal(false);
    }
    expect(received).to.equal(0);
  });
});
