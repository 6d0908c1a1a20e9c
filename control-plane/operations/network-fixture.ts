// A small cluster for the tests of networks.
import { expect } from "chai";
import { allocate } from "#control-plane/allocator/allocate.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, Tx, WriteContext } from "#control-plane/state/types.ts";
import {
  ClusterSpec,
  EndpointMode,
  type Network,
  NetworkSpec,
  NodeDescription,
  NodeRole,
  ServiceSpec,
} from "#proto/gen/types.ts";
import * as ops from "./index.ts";

let ids = 0;
export const ctx = { now: 1_000, newId: () => `id${String(ids++).padStart(4, "0")}` };
export const commit = <R>(state: State, write: (tx: Tx, context: WriteContext) => R): R => {
  const tx = state.begin();
  const result = write(tx, ctx);
  const command = { id: ctx.newId(), time: ctx.now, changes: tx.changes() };
  expect(state.apply(state.index + 1, command)).to.deep.equal({ ok: true });
  return result;
};
export const pass = (state: State) => commit(state, (tx) => allocate(tx, ctx));

type Given<M extends { fromPartial(x: never): unknown }> = Parameters<M["fromPartial"]>[0];
export const network = (name: string, more: Given<typeof NetworkSpec> = {}): NetworkSpec =>
  NetworkSpec.fromPartial({ annotations: { name }, ...more });
export const service = (name: string, networks: object[], more: Given<typeof ServiceSpec> = {}): ServiceSpec =>
  ServiceSpec.fromPartial({
    annotations: { name },
    replicas: 1,
    endpointMode: EndpointMode.DNSRR,
    task: { container: { image: "localhost/web:1" }, networks },
    ...more,
  });
export const create = (state: State, spec: NetworkSpec): Network =>
  commit(state, (tx) => ops.createNetwork(tx, ctx, { spec }));
export const named = (state: State, name: string): Network => state.networkByName(name)!;
export const joins = (state: State, id: string, hostname: string, routes: string[] = []) =>
  commit(state, (tx) => {
    ops.registerNode(tx, ctx, { id, hostname, role: NodeRole.WORKER, addr: "192.0.2.9" });
    const images = [{ digest: "sha256:1234", names: ["localhost/web:1"] }];
    const description = NodeDescription.fromPartial({ hostname, routes, images });
    ops.applyNodeSession(tx, ctx, id, { description, addr: "192.0.2.9" });
  });

/** A cluster of one node, with the networks back (10.77.0.0/24) and lan, a macvlan on the node's own subnet. */
export const cluster = (routes: string[] = ["192.0.2.1/24", "0.0.0.0/0"]): State => {
  const state = createState();
  const pem = Buffer.from("pem");
  commit(state, (tx) =>
    ops.initCluster(tx, ctx, {
      id: "c1",
      spec: ClusterSpec.fromPartial({}),
      caCertificatePem: pem,
      caKeyPem: pem,
      joinTokenWorker: "w",
      joinTokenManager: "m",
    }),
  );
  joins(state, "node1", "alpha", routes);
  pass(state);
  create(state, network("back", { ipam: [{ subnet: "10.77.0.0/24" }] }));
  return state;
};
