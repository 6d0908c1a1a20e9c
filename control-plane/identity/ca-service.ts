// Certificates for nodes: a joiner shows a token's secret, a node renews with the certificate that it has. The role comes
// from the token, later from the node's object; what the request itself claims is not believed.
import { timingSafeEqual } from "node:crypto";
import type { Clock } from "#base/clock.ts";
import { refuse, TswarmError } from "#base/errors.ts";
import { parseJoinToken } from "#base/join-token.ts";
import { certificateDigest, issueCertificate } from "#base/node/pki.ts";
import type { ReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { registerNode } from "#control-plane/operations/nodes.ts";
import type { CaDefinition } from "#proto/gen/ca.ts";
import { type Cluster, NodeRole } from "#proto/gen/types.ts";
import type { Handlers } from "#proto/rpc/server.ts";

export const DEFAULT_VALIDITY_MS = 90 * 24 * 3600 * 1000;

const sameSecret = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));

const roleOf = (cluster: Cluster, token: string): NodeRole => {
  const { secret, caDigest } = parseJoinToken(token);
  const remedy = "Take the current one from `tsctl cluster join-token`";
  if (caDigest !== certificateDigest(cluster.caCertificatePem.toString()))
    throw refuse("unauthenticated", "token", "it belongs to another cluster", remedy);
  if (sameSecret(secret, parseJoinToken(cluster.joinTokenManager).secret)) return NodeRole.MANAGER;
  if (sameSecret(secret, parseJoinToken(cluster.joinTokenWorker).secret)) return NodeRole.WORKER;
  throw refuse("unauthenticated", "token", "its secret is wrong: it was rotated or mistyped", remedy);
};

export const createCaService = (
  replicated: ReplicatedState,
  clock: Clock,
  managerAddrs: () => string[],
): Handlers<CaDefinition> => {
  const cluster = (): Cluster => {
    const found = replicated.state.cluster();
    if (!found) throw new TswarmError("unavailable", "the cluster is being set up: try again in a moment");
    return found;
  };
  return {
    getRootCa: async () => ({ certificatePem: cluster().caCertificatePem }),
    async issueCertificate({ csrPem, token, hostname, addr }, { peer }) {
      const { id, caCertificatePem, caKeyPem, spec, ...current } = cluster();
      let nodeId: string;
      let role: NodeRole;
      if (peer) {
        const node = replicated.state.get("node", peer.nodeId);
        if (!node?.spec || peer.clusterId !== id)
          throw refuse("forbidden", "node", `${peer.nodeId} is not a node of this cluster`, "Join it with a token");
        nodeId = node.id;
        role = node.spec.role;
      } else {
        role = roleOf({ id, caCertificatePem, caKeyPem, spec, ...current }, token);
        nodeId = (await replicated.write((tx, ctx) => registerNode(tx, ctx, { id: ctx.newId(), hostname, role, addr })))
          .value.id;
      }
      const certificate = await issueCertificate(
        { keyPem: caKeyPem.toString(), certificatePem: caCertificatePem.toString() },
        csrPem.toString(),
        { nodeId, clusterId: id, role: role === NodeRole.MANAGER ? "manager" : "worker" },
        clock.now(),
        spec?.certValidityMs || DEFAULT_VALIDITY_MS,
      );
      return {
        nodeId,
        clusterId: id,
        role,
        certificatePem: Buffer.from(certificate),
        caCertificatePem,
        managerAddrs: managerAddrs(),
      };
    },
  };
};
